"""Runs tests on an executor and holds the clock. Knows no file, no text and no sampling, as llama-bench has none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from edgerun.backends.executor import Batch, Executor
from edgerun.bench.grammar import Case

Report = Callable[[int, int], None]   # (runs done, runs in all)


@dataclass(frozen=True)
class Run:
    """One repetition, in seconds: all of it, until the first token (None without a prompt), from token to token; joules if known."""

    seconds: float
    first: float | None = None
    gaps: list[float] = field(default_factory=list)
    joules: float | None = None


class Runner:
    """Tests on one executor, `rows` of prompt per step. The tokens are random, but the same at the same position in every run.

    So what is in memory stays good, and the text before a test is evaluated once.
    """

    def __init__(self, executor: Executor, rows: int, joules: Callable[[], float | None] = lambda: None, clock: Callable[[], float] = perf_counter) -> None:
        self._executor, self._rows, self._joules, self._clock = executor, rows, joules, clock
        self._table = np.arange(executor.pages, dtype=np.int32)[None]
        self._tokens = np.zeros(0, np.int32)
        self._filled = 0

    def measure(self, case: Case, repetitions: int, warmup: bool = True, report: Report = lambda done, of: None) -> list[Run]:
        """The runs of a test; before them one that does not count, which touches all weights."""
        self._tokens = np.random.default_rng(0).integers(0, self._executor.n_vocab, case.depth + case.tokens).astype(np.int32)
        report(0, repetitions)
        if self._filled < case.depth:
            self._evaluate(self._filled, case.depth)
        if warmup:
            self._run(Case(case.prompt, min(case.gen, 2), case.depth))
        runs = []
        for done in range(repetitions):
            runs.append(self._run(case))
            report(done + 1, repetitions)
        return runs

    def _run(self, case: Case) -> Run:
        before, begun = self._joules(), self._clock()
        first, gaps, at = None, [], case.depth
        if case.prompt:
            at += case.prompt
            self._evaluate(case.depth, at)
            first = self._clock() - begun
        last = begun + (first or 0.0)
        for position in range(at, at + case.gen):
            self._evaluate(position, position + 1)
            now = self._clock()
            gaps.append(now - last)
            last = now
        after = self._joules()
        self._filled = max(self._filled, case.depth + case.tokens)
        return Run(last - begun, first, gaps, None if before is None or after is None else after - before)

    def _evaluate(self, start: int, stop: int) -> None:
        """Evaluate positions start:stop in steps, with the likeliest token behind the last of them."""
        for at in range(start, stop, self._rows):
            n = min(self._rows, stop - at)
            outputs = [n - 1] if at + n == stop else []
            logits = self._executor.step(
                Batch(
                    tokens=self._tokens[at : at + n],
                    positions=np.arange(at, at + n, dtype=np.int32),
                    sequences=np.zeros(n, np.int32),
                    tables=self._table,
                    outputs=np.array(outputs, np.int32),
                )
            )
        logits[0].argmax()
