"""Results with round numbers, for tests of what is made of them."""

from __future__ import annotations

from typing import Any

from edgerun.backends.cpu.ceilings import Ceilings
from edgerun.bench.facts import Facts
from edgerun.bench.grammar import Case, Setting
from edgerun.bench.result import Loaded, Result
from edgerun.bench.runner import Run
from edgerun.bench.work import Work

WORK = Work(weights=100_000_000, body=90_000_000, head=10_000_000, memory=((500.0, None), (500.0, 16)))
FACTS = Facts("llama 135M Q4_1", 96_576_000, 134_515_008)


def loaded(threads: int = 2, **setting: Any) -> Loaded:
    """A model that reads 100 MB per token, on a machine that reads 20 GB/s and multiplies 400 GMAC/s."""
    return Loaded(Setting("smollm2:135m", threads, **setting), FACTS, "CPU", threads, 0.25, 0.0, WORK, Ceilings(threads, "avx2", 20e9, 400e9))


def prompt(where: Loaded, joules: float | None = None, price: float | None = None) -> Result:
    """A prompt of 512 tokens in 0.5 s and in 0.25 s."""
    return Result(where, Case(512, 0), (Run(0.5, 0.5, [], joules), Run(0.25, 0.25, [], joules)), 250_000_000, "2026-01-02T03:04:05Z", price)


def answer(where: Loaded, joules: float | None = None, price: float | None = None) -> Result:
    """Ten tokens of 10 ms, twice, the last gap being longer."""
    gaps = [0.01] * 9 + [0.02]
    return Result(where, Case(0, 10, 64), (Run(0.11, None, gaps, joules), Run(0.11, None, gaps, joules)), 250_000_000, "2026-01-02T03:04:06Z", price)
