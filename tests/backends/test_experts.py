"""What the component of experts computes, written out once more, in each way that files and families differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from suite import MemoryTensor, tensor

from edgerun.backends import reference
from edgerun.backends.executor import Batch
from edgerun.errors import ModelError
from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.program import Program
from edgerun.models.components import Clamp, Experts, FeedForward, Routing

WIDTH, HIDDEN, COUNT, USED, ROWS = 8, 6, 5, 2, 7
ROUTING = Routing(COUNT, USED, normalise=0.0)
GATE, UP, DOWN = "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"


def random(name: str, *shape: int) -> np.ndarray:
    return np.random.default_rng(len(name)).standard_normal(shape)


def weights(*, plain: bool = False, biases: bool = False, shared: bool = False) -> dict[str, np.ndarray]:
    """Tensors of a layer by name, without their prefix."""
    shapes: dict[str, tuple[int, ...]] = {"ffn_gate_inp.weight": (COUNT, WIDTH), f"{UP}.weight": (COUNT, HIDDEN, WIDTH), f"{DOWN}.weight": (COUNT, WIDTH, HIDDEN)}
    if not plain:
        shapes[f"{GATE}.weight"] = (COUNT, HIDDEN, WIDTH)
    if biases:
        shapes |= {"ffn_gate_inp.bias": (COUNT,), **{name.replace("weight", "bias"): shape[:2] for name, shape in shapes.items() if "exps" in name}}
    if shared:
        shapes |= {"ffn_gate_shexp.weight": (3, WIDTH), "ffn_up_shexp.weight": (3, WIDTH), "ffn_down_shexp.weight": (WIDTH, 3), "score.weight": (1, WIDTH)}
    return {name: random(name, *shape) for name, shape in shapes.items()}


def run(part: Experts, values: dict[str, np.ndarray], residual: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """(x, what the part makes of it) on the reference backend."""
    table = random("table", ROWS, WIDTH)
    b = Builder({"table": table.shape} | {f"blk.0.{name}": value.shape for name, value in values.items()})
    x, out = b.buffer("x", WIDTH), b.buffer("out", WIDTH)
    b.add(ops.Embed(x, b.weight("table", ROWS, WIDTH)))
    b.add(ops.Embed(out, "table"))
    part.emit(b, "blk.0.", x, out, out if residual else None)
    program: Program = b.program(out)
    tensors: dict[str, MemoryTensor] = {"table": tensor("table", table)} | {f"blk.0.{name}": tensor(name, value) for name, value in values.items()}
    rows = np.arange(ROWS, dtype=np.int32)
    executor = reference.compile(program, tensors, pages=1)
    return table, executor.step(Batch(rows, rows, np.zeros(ROWS, np.int32), np.zeros((1, 1), np.int32), rows))


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def by_hand(x: np.ndarray, w: dict[str, np.ndarray], gate: Any, weigh_input: bool = False) -> np.ndarray:
    """Sum over the chosen experts, row by row; gate(gate or None, up) is the activation."""
    result = []
    for row in x:
        logits = w["ffn_gate_inp.weight"] @ row + w.get("ffn_gate_inp.bias", 0)
        ids = np.argsort(-logits)[:USED]
        share = np.exp(logits[ids]) / np.exp(logits[ids]).sum()
        total = np.zeros(WIDTH)
        for e, weight in zip(ids, share, strict=True):
            given = row * weight if weigh_input else row
            g = w[f"{GATE}.weight"][e] @ given + w.get(f"{GATE}.bias", np.zeros(COUNT))[e] if f"{GATE}.weight" in w else None
            u = w[f"{UP}.weight"][e] @ given + w.get(f"{UP}.bias", np.zeros(COUNT))[e]
            y = w[f"{DOWN}.weight"][e] @ gate(g, u) + w.get(f"{DOWN}.bias", np.zeros(COUNT))[e]
            total += y if weigh_input else weight * y
        result.append(total)
    return np.array(result)


def gated(g: np.ndarray, u: np.ndarray) -> np.ndarray:
    return silu(g) * u


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("biases", [True, False])
def test_gated_experts(biases: bool, residual: bool) -> None:
    w = weights(biases=biases)
    x, got = run(Experts(ROUTING, HIDDEN), w, residual)
    np.testing.assert_allclose(got, by_hand(x, w, gated) + residual * x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weigh", ["output", "input"])
def test_gate_and_up_may_be_one_stack(weigh: Any) -> None:
    w = weights()
    both = {name: value for name, value in w.items() if GATE not in name and UP not in name}
    both["ffn_gate_up_exps.weight"] = np.concatenate([w[f"{GATE}.weight"], w[f"{UP}.weight"]], 1)
    part = Experts(ROUTING, HIDDEN, weigh=weigh)
    np.testing.assert_allclose(run(part, both)[1], run(part, w)[1], rtol=1e-6)


def test_weights_may_multiply_what_experts_are_given() -> None:
    w = weights()
    x, got = run(Experts(ROUTING, HIDDEN, weigh="input"), w)
    np.testing.assert_allclose(got, by_hand(x, w, gated, weigh_input=True) + x, rtol=1e-4, atol=1e-5)


def test_plain_experts() -> None:
    w = weights(plain=True)
    x, got = run(Experts(ROUTING, HIDDEN, "relu2", kind="plain"), w)
    np.testing.assert_allclose(got, by_hand(x, w, lambda _, u: np.maximum(u, 0) ** 2) + x, rtol=1e-4, atol=1e-5)


def test_the_bounded_gate() -> None:
    w = weights(biases=True)
    x, got = run(Experts(ROUTING, HIDDEN, Clamp(1.7, 2.0)), w)

    def bounded(g: np.ndarray, u: np.ndarray) -> np.ndarray:
        g = np.minimum(g, 2)
        return g / (1 + np.exp(-1.7 * g)) * (np.clip(u, -2, 2) + 1)

    np.testing.assert_allclose(got, by_hand(x, w, bounded) + x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("score", ["score", None])
def test_a_shared_expert_is_for_every_row(score: str | None) -> None:
    w = weights(shared=True)
    if score is None:
        del w["score.weight"]
    x, got = run(Experts(ROUTING, HIDDEN, shared=FeedForward(3, "silu", suffix="_shexp", score=score)), w)
    gate, up, down = (w[f"ffn_{name}_shexp.weight"] for name in ("gate", "up", "down"))
    every = (silu(x @ gate.T) * (x @ up.T)) @ down.T
    if score:
        every /= 1 + np.exp(-x @ w["score.weight"].T)
    np.testing.assert_allclose(got, by_hand(x, w, gated) + every + x, rtol=1e-4, atol=1e-5)


def test_biases_are_refused_where_weights_multiply_what_experts_are_given() -> None:
    with pytest.raises(ModelError, match=r"ffn_(gate|up)_exps\.bias"):
        run(Experts(ROUTING, HIDDEN, weigh="input"), weights(biases=True))
