"""Measures models as a grid of settings and tests says. Knows no terminal: what is going on is told to a callback."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edgerun import machine
from edgerun.backends.cpu.ceilings import Ceilings, ceilings
from edgerun.bench.energy import Energy
from edgerun.bench.facts import Facts
from edgerun.bench.grammar import Case, Setting
from edgerun.bench.result import Loaded, Result
from edgerun.bench.runner import Runner
from edgerun.bench.work import Work

if TYPE_CHECKING:
    from edgerun.llm import LLM

Load = Callable[[Setting, int], "AbstractContextManager[LLM]"]   # (setting, context) -> a model, to be closed
Say = Callable[[str, int, int], None]                            # (what is measured, runs done, runs in all)


class Bench:
    """load: loads a model; say: called before and after each run. price: of an hour of this machine."""

    def __init__(self, load: Load, say: Say, energy: Energy, price: float | None = None) -> None:
        self._load, self._say, self._energy, self._price = load, say, energy, price
        self._ceilings: dict[int, Ceilings] = {}

    def run(self, settings: Sequence[Setting], cases: Sequence[Case], repetitions: int, warmup: bool = True) -> Iterator[Result]:
        """The results, as they are there. Errors: those of loading."""
        context = max(case.depth + case.tokens for case in cases)
        for setting in settings:
            limits = self._limits(machine.threads(setting.threads).count)   # before the model takes memory and threads
            machine.forget_peak_memory()
            with self._load(setting, context) as llm:
                loaded = _loaded(setting, llm, limits)
                runner = Runner(llm.session.executor, loaded.rows, self._energy.joules)
                for case in cases:
                    yield self._measure(loaded, runner, case, repetitions, warmup)

    def _measure(self, loaded: Loaded, runner: Runner, case: Case, repetitions: int, warmup: bool) -> Result:
        what = f"{loaded.facts.kind}, {loaded.threads} thread{'s' * (loaded.threads > 1)}, {case.name}:"
        begun = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        runs = runner.measure(case, repetitions, warmup, lambda done, of: self._say(what, done, of))
        return Result(loaded, case, tuple(runs), machine.peak_memory(), begun, self._price)

    def _limits(self, threads: int) -> Ceilings:
        if threads not in self._ceilings:
            self._say("measuring this machine:", len(self._ceilings), len(self._ceilings) + 1)
            self._ceilings[threads] = ceilings(threads, fresh=True)
        return self._ceilings[threads]


def _loaded(setting: Setting, llm: LLM, limits: Ceilings) -> Loaded:
    facts = llm.describe()
    executor = llm.session.executor
    work = Work.of(llm.program, llm.plan, executor.pages)
    backend = "CPU"
    if llm.device != "CPU":   # what it multiplies at most is not measured
        backend, limits = "GPU", Ceilings(limits.threads, llm.device, llm.measure_bandwidth(), 0.0)
    return Loaded(setting, Facts.of(llm.path), backend, llm.threads.count, facts["load_seconds"], facts["compile_seconds"], work, limits)
