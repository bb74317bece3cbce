"""Slots of recurrent state: batch mates do not meet, a sequence may have any slot, and a copy goes on like the original."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from suite import VOCAB, Case, recurrences

from edgerun.backends import cpu, reference
from edgerun.backends.executor import Batch, Executor

Start = Callable[..., Executor]
NAMES = ("convolve-50-3", "scan-column-odd", "scan-head-odd", "delta-shared")
CASES = [case for case in recurrences() if case.name in NAMES]
OPTIONS: dict[str, Any] = {"pages": 4, "max_rows": 64, "slots": 3}


@pytest.fixture(params=[reference, cpu], ids=["reference", "cpu"])
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    executors: list[Executor] = []

    def compile(case: Case, **options: Any) -> Executor:
        executors.append(request.param.compile(case.program(), case.all_tensors(), **OPTIONS | options))
        return executors[-1]

    yield compile
    for executor in executors:
        executor.close()


def batch(parts: list[tuple[int, int]], states: list[int] | None) -> Batch:
    """parts: (first position, rows) of each sequence, whose tokens follow from its number."""
    positions = [np.arange(first, first + n) for first, n in parts]
    tokens = [np.random.default_rng(s).integers(0, VOCAB, 64)[p] for s, p in enumerate(positions)]
    sequences = np.repeat(np.arange(len(parts)), [n for _, n in parts])
    tables, rows = np.arange(len(parts), dtype=np.int32)[:, None], len(sequences)
    return Batch(
        *(np.concatenate(x).astype(np.int32) for x in (tokens, positions)), sequences.astype(np.int32), tables, np.arange(rows, dtype=np.int32),
        states=None if states is None else np.array(states, np.int32),
    )   # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_sequences_of_one_batch_do_not_meet(start: Start, case: Case) -> None:
    executor = start(case, threads=2)
    lengths = (20, 33, 9)
    whole = executor.step(batch([(0, n) for n in lengths], None)).copy()
    for states in ([0, 1, 2], [2, 0, 1]):
        first = executor.step(batch([(0, 5), (0, 31), (0, 1)], states)).copy()
        second = executor.step(batch([(5, 15), (31, 2), (1, 8)], states)).copy()
        ends = list(itertools.accumulate(lengths[:-1], initial=0))
        want = [whole[end + start : end + stop] for parts in (((0, 5), (0, 31), (0, 1)), ((5, 20), (31, 33), (1, 9))) for end, (start, stop) in zip(ends, parts, strict=True)]
        np.testing.assert_array_equal(np.concatenate([first, second]), np.concatenate(want))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_a_copy_goes_on_like_the_original(start: Start, case: Case) -> None:
    executor = start(case)
    assert executor.slots == 3
    executor.step(batch([(0, 20)], [0]))
    executor.copy_state(0, 2)
    want = executor.step(batch([(20, 10)], [0])).copy()
    for _ in range(2):
        executor.copy_state(2, 1)
        np.testing.assert_array_equal(executor.step(batch([(20, 10)], [1])), want)


@pytest.mark.parametrize("states", [[3], [-1]])
def test_a_slot_that_is_not_there_is_a_bug(states: list[int]) -> None:
    executor = cpu.compile(CASES[0].program(), CASES[0].all_tensors(), **OPTIONS)
    with pytest.raises(AssertionError, match="slots of the batch"):
        executor.step(batch([(0, 3)], states))
    executor.close()


@pytest.mark.parametrize("case", recurrences(), ids=lambda c: c.name)
def test_the_plan_counts_every_slot(case: Case) -> None:
    plans = [cpu.plan(case.program(), case.all_tensors(), pages=1, slots=n).state for n in (1, 2, 5)]
    assert plans[0] > 0
    assert plans == [plans[0], 2 * plans[0], 5 * plans[0]]
    executor = cpu.compile(case.program(), case.all_tensors(), pages=1, max_rows=4, slots=2)
    assert executor._phases.state.nbytes == plans[1]
    vectors = sum(-(-array.nbytes // 64) * 64 for array in executor._weights._vectors.values())
    assert cpu.plan(case.program(), case.all_tensors(), pages=1, max_rows=4).weights == vectors
    executor.close()
