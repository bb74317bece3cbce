"""Running tests: which tokens at which positions, and what the clock is read for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import count

import numpy as np
import pytest

from edgerun.backends.executor import PAGE, Batch, MemoryPlan
from edgerun.bench.grammar import Case
from edgerun.bench.runner import Runner
from edgerun.bench.work import Work
from edgerun.graph import ops
from edgerun.graph.ops import View
from edgerun.graph.program import Program


class Recorder:
    """An executor that notes its steps and checks that what lies before a position was written, with the same tokens always."""

    n_vocab, pages, max_rows, slots = 50, 8, 64, 0

    def __init__(self) -> None:
        self.steps: list[tuple[int, int, int]] = []   # first position, rows, rows of logits
        self.memory: dict[int, int] = {}

    def step(self, batch: Batch) -> np.ndarray:
        first, n = int(batch.positions[0]), len(batch.tokens)
        assert batch.tables.shape == (1, self.pages)
        assert {array.dtype for array in (batch.tokens, batch.positions, batch.sequences, batch.tables, batch.outputs)} == {np.dtype(np.int32)}
        assert all(position in self.memory for position in range(first))
        for position, token in zip(batch.positions.tolist(), batch.tokens.tolist(), strict=True):
            assert position < self.pages * PAGE
            assert self.memory.setdefault(position, token) == token
        self.steps.append((first, n, len(batch.outputs)))
        return np.zeros((len(batch.outputs), self.n_vocab), np.float32)

    def close(self) -> None:
        pass


@pytest.fixture
def clock() -> Iterator[int]:
    return count()


def test_a_prompt(clock: Iterator[int]) -> None:
    executor = Recorder()
    (run,) = Runner(executor, 32, clock=lambda: next(clock)).measure(Case(80, 0), 1, warmup=False)
    assert executor.steps == [(0, 32, 0), (32, 32, 0), (64, 16, 1)]
    assert (run.seconds, run.first, run.gaps, run.joules) == (1, 1, [], None)


def test_tokens_one_by_one(clock: Iterator[int]) -> None:
    executor = Recorder()
    (run,) = Runner(executor, 32, clock=lambda: next(clock)).measure(Case(0, 3), 1, warmup=False)
    assert executor.steps == [(0, 1, 1), (1, 1, 1), (2, 1, 1)]
    assert (run.seconds, run.first, run.gaps) == (3, None, [1, 1, 1])


def test_both_behind_a_depth(clock: Iterator[int]) -> None:
    executor, said = Recorder(), list[tuple[int, int]]()
    runs = Runner(executor, 32, clock=lambda: next(clock)).measure(Case(40, 2, 70), 2, report=lambda *call: said.append(call))
    before, again = [(0, 32, 0), (32, 32, 0), (64, 6, 1)], [(70, 32, 0), (102, 8, 1), (110, 1, 1), (111, 1, 1)]
    assert executor.steps == before + again * 3   # once to warm up
    assert [(run.seconds, run.first, run.gaps) for run in runs] == [(3, 1, [1, 1])] * 2
    assert said == [(0, 2), (1, 2), (2, 2)]


def test_what_is_in_memory_is_not_evaluated_again() -> None:
    executor = Recorder()
    runner = Runner(executor, 64)
    runner.measure(Case(64, 0), 1, warmup=False)
    runner.measure(Case(0, 1, 100), 1, warmup=False)
    runner.measure(Case(0, 1, 60), 1, warmup=False)
    assert executor.steps == [(0, 64, 1), (64, 36, 1), (100, 1, 1), (60, 1, 1)]


def test_joules_are_those_of_the_run() -> None:
    counter = iter([5.0, 7.0, 7.5, 8.0])
    runs = Runner(Recorder(), 32, joules=lambda: next(counter)).measure(Case(0, 1), 2, warmup=False)
    assert [run.joules for run in runs] == [2.0, 0.5]


def test_a_token_reads_the_experts_it_uses() -> None:
    x, choice, out = View("x", 0, 10), View("choice", 0, 4), View("out", 0, 2 * 30)
    steps = (ops.Linear(x, View("all", 0, 20), ("w",), (None,)), ops.Experts(x, choice, out, 8, 10, ("a",), (None,)))
    program = Program(steps, {}, (), frozenset(), 20)
    work = Work.of(program, MemoryPlan(weights=2 * (200 + 8 * 300), kv=0, scratch=0), 0)
    assert (work.body, work.head, work.weights, work.stacks) == (200 + 600, 0, 400, ((600.0, 8, 2),))
    assert [work.read(rows) for rows in (1, 2, 4, 100)] == [400 + 600 * n for n in (2, 4, 8, 8)]
    assert work.nbytes(Case(3, 2), 2) == sum(400 + 600 * n for n in (4, 2, 2, 2))
    late = Work.of(dataclasses.replace(program, ops=(steps[0], ops.Select(x, View("h", 0, 10)), steps[1])), MemoryPlan(weights=0, kv=0, scratch=0), 0)
    assert (late.body, late.head) == (200, 600)
