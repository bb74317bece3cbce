"""What the runs of one test amount to: rates, times, shares of what the machine can do. Knows neither clock nor output."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from edgerun.backends.cpu.ceilings import Ceilings
from edgerun.bench.facts import Facts
from edgerun.bench.grammar import Case, Setting
from edgerun.bench.runner import Run
from edgerun.bench.work import Work
from edgerun.dataclass import dataclass
from edgerun.engine.stats import percentile


@dataclass(frozen=True)
class Loaded:
    """A model as it was loaded: facts of its file, threads that run, seconds, and what the machine can do with so many threads.

    On a GPU (backend "GPU") the ceilings are those of the device, by whose name they go instead of an instruction set; a 0 is not known.
    """

    setting: Setting
    facts: Facts
    backend: str
    threads: int
    load_seconds: float
    compile_seconds: float
    work: Work
    ceilings: Ceilings

    @property
    def rows(self) -> int:
        """Prompt rows per step."""
        return min(self.setting.batch, self.setting.ubatch)


@dataclass(frozen=True)
class Result:
    """One test. time: when it began (ISO 8601, UTC); peak_memory: bytes resident at most since loading; price: of an hour, or None."""

    loaded: Loaded
    case: Case
    runs: tuple[Run, ...]
    peak_memory: int
    time: str
    price: float | None = None

    @property
    def rates(self) -> list[float]:
        """Tokens per second of each run."""
        return [self.case.tokens / run.seconds for run in self.runs]

    @property
    def rate(self) -> float:
        """Their mean."""
        return statistics.fmean(self.rates)

    @property
    def seconds(self) -> float:
        """Of a run, on average."""
        return statistics.fmean(run.seconds for run in self.runs)

    @property
    def bytes_per_token(self) -> float:
        """Bytes of weights, keys and values that a token reads, on average."""
        return self.loaded.work.nbytes(self.case, self.loaded.rows) / self.case.tokens

    @property
    def bandwidth(self) -> float:
        """Bytes per second that it came to."""
        return self.bytes_per_token * self.case.tokens / self.seconds

    @property
    def macs(self) -> float:
        """Multiplications of matrices per second."""
        return self.loaded.work.macs(self.case) / self.seconds

    @property
    def joules_per_token(self) -> float | None:
        """None where the machine does not say."""
        joules = [run.joules for run in self.runs if run.joules is not None]
        return statistics.fmean(joules) / self.case.tokens if len(joules) == len(self.runs) else None

    @property
    def cost_per_million(self) -> float | None:
        """What a million tokens cost at the price of an hour."""
        return None if self.price is None else self.price / 3600 / self.rate * 1e6

    def first_token(self, percent: float) -> float | None:
        """Percentile of the seconds until the first token; None without a prompt."""
        return _percentile((run.first for run in self.runs if run.first is not None), percent)

    def gap(self, percent: float) -> float | None:
        """Percentile of the seconds from token to token, over all runs; None where nothing is generated."""
        return _percentile((gap for run in self.runs for gap in run.gaps), percent)

    def row(self) -> dict[str, Any]:
        """Every figure by name, those of llama-bench by its names: times in ns, sizes in bytes, rates per second; None: not known."""
        loaded, setting, case, ceilings = self.loaded, self.loaded.setting, self.case, self.loaded.ceilings
        nanoseconds = [run.seconds * 1e9 for run in self.runs]
        return {
            "backends": loaded.backend, "isa": ceilings.isa, "model_filename": setting.model, "model_type": loaded.facts.kind,
            "model_size": loaded.facts.size, "model_n_params": loaded.facts.parameters, "n_batch": setting.batch, "n_ubatch": setting.ubatch,
            "n_threads": loaded.threads, "type_k": setting.kinds[0], "type_v": setting.kinds[1], "n_prompt": case.prompt, "n_gen": case.gen, "n_depth": case.depth,
            "test": case.name, "test_time": self.time, "avg_ns": round(statistics.fmean(nanoseconds)), "stddev_ns": round(deviation(nanoseconds)),
            "avg_ts": self.rate, "stddev_ts": deviation(self.rates), "ttft_p50": self.first_token(50), "ttft_p95": self.first_token(95),
            "gap_p50": self.gap(50), "gap_p95": self.gap(95), "gap_p99": self.gap(99), "load_seconds": loaded.load_seconds,
            "compile_seconds": loaded.compile_seconds, "peak_memory": self.peak_memory, "bytes_per_token": round(self.bytes_per_token),
            "read_bandwidth": self.bandwidth, "read_bandwidth_measured": ceilings.read, "macs": self.macs, "macs_measured": ceilings.macs or None,
            "joules_per_token": self.joules_per_token, "cost_per_million_tokens": self.cost_per_million,
        }  # fmt: skip

    def samples(self) -> dict[str, Any]:
        """What each run gave, by llama-bench's names."""
        return {"samples_ns": [round(run.seconds * 1e9) for run in self.runs], "samples_ts": self.rates}


def deviation(values: list[float]) -> float:
    """The sample's standard deviation; 0 of a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _percentile(values: Iterable[float], percent: float) -> float | None:
    found = list(values)
    return percentile(found, percent) if found else None
