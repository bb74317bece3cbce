"""The knapsack against all choices there are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from quant.budget import Option, neighbours, within_bytes, within_loss


def some(seed: int, items: int = 5, kinds: int = 4) -> dict[str, list[Option]]:
    random = np.random.default_rng(seed)
    return {f"m{i}": [Option(f"t{j}", int(random.integers(1, 60)), float(random.random())) for j in range(kinds)] for i in range(items)}


def totals(chosen: tuple[Option, ...]) -> tuple[int, float]:
    return sum(option.nbytes for option in chosen), sum(option.loss for option in chosen)


@pytest.mark.parametrize("seed", range(20))
def test_close_to_the_best_choice(seed: int) -> None:
    options = some(seed)
    every = [totals(chosen) for chosen in itertools.product(*options.values())]
    least = sum(min(option.nbytes for option in items) for items in options.values())
    gap = max(option.loss for items in options.values() for option in items)
    for budget in (least, least + 40, least + 120, 10_000):
        found = within_bytes(options, budget)
        assert found is not None
        nbytes, loss = totals(tuple(found.values()))
        best = min(loss for size, loss in every if size <= budget)
        assert nbytes <= budget
        assert best - 1e-12 <= loss <= best + gap   # a step that did not fit is all that can be lost
        smallest = within_loss(options, loss)
        assert smallest is not None
        assert totals(tuple(smallest.values()))[1] <= loss + 1e-12


def test_what_cannot_be() -> None:
    options = {"a": [Option("x", 10, 1.0), Option("y", 20, 0.5)]}
    assert within_bytes(options, 9) is None
    assert within_loss(options, 0.4) is None
    assert within_loss(options, 2.0) == {"a": Option("x", 10, 1.0)}


def test_more_bytes_never_lose_more() -> None:
    options = some(7, items=12, kinds=6)
    losses = [totals(tuple(found.values()))[1] for size in range(200, 800, 25) if (found := within_bytes(options, size))]
    assert losses[0] > losses[-1]
    assert all(b <= a + 0.05 for a, b in itertools.pairwise(losses))


def test_the_types_beside_are_those_worth_having() -> None:
    a, b, c, d = Option("a", 10, 1.0), Option("b", 20, 0.5), Option("c", 25, 0.49), Option("d", 30, 0.1)
    assert neighbours([a, b, c, d], b) == (a, d)   # c wins nothing beside b and d
    assert neighbours([a, b, c, d], a) == (None, b)
    assert neighbours([a, b, c, d], c) == (b, d)
    assert neighbours([d], d) == (None, None)
