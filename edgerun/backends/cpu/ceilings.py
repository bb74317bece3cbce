"""What this machine can do at most: bytes read from memory and integer multiplications, per second. Knows no model.

Both are measured by kernels of their own (`kernels/probe.py`) in short passes. The best one counts: the others show only what else the
machine was doing. Who compares with rates that were disturbed as well takes their median. What was measured is kept for a day, so
that asking costs nothing the next time.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from edgerun import config, machine
from edgerun.backends.cpu import isa as isas
from edgerun.backends.cpu.arena import Arena
from edgerun.backends.cpu.native import Linked
from edgerun.backends.cpu.store import KernelStore
from edgerun.backends.keep import keep
from edgerun.dataclass import dataclass

KERNELS = ("probe-read", "probe-peak")
SMALLEST = 1 << 30        # bytes to read, and twice the last-level cache where that is more
KEPT = 86400.0            # seconds that a figure is good for: it may have been a busy moment
READ_SECONDS, PEAK_SECONDS = 0.5, 0.25
PIECE = 64 << 10          # memory of a thread that multiplies
SHORTEST = 0.004          # seconds: what starts late in a shorter pass would spoil it
_MOST_KEPT = 64


@dataclass(frozen=True)
class Ceilings:
    """read: bytes per second that the threads read from memory together; macs: their 8-bit multiply-adds per second with `isa`."""

    threads: int
    isa: str
    read: float
    macs: float


def ceilings(threads: int, fresh: bool = False) -> Ceilings:
    """The figures for this many threads: those kept, or measured now, which takes about a second and a gibibyte.

    fresh: measure in any case. ResourceError when there is no memory to read.
    """
    key = "|".join((machine.cpu_name(), str(machine.last_level_cache()), str(len(machine.cores())), str(threads), isas.choose().name))
    kept = {} if fresh else _read_kept()
    if key in kept:
        return Ceilings(threads, isas.choose().name, kept[key]["read"], kept[key]["macs"])
    found = measure(threads)
    _keep(key, found)
    return found


def measure(threads: int, nbytes: int | None = None, of: Callable[[list[float]], float] = max) -> Ceilings:
    """Measure now; nbytes: how much to read, default so much that no cache holds it; of: what counts, of the rates of all passes."""
    isa = isas.choose()
    linked = Linked(KernelStore(isa).load(KERNELS), isa)
    size = reading_size() if nbytes is None else nbytes
    with ThreadPoolExecutor(threads) as pool:
        read = _rates(linked, pool, "probe-read", threads, size // threads, READ_SECONDS, lambda results, per: per * threads)
        macs = _rates(linked, pool, "probe-peak", threads, PIECE, PEAK_SECONDS, lambda results, per: int(results.sum()))
    return Ceilings(threads, isa.name, of(read), of(macs))


def reading_size() -> int:
    """Bytes that tell memory from caches, as far as this machine can spare them."""
    return min(max(SMALLEST, 2 * machine.last_level_cache()), machine.memory().available // 4)


def _rates(
    linked: Linked, pool: ThreadPoolExecutor, kernel: str, threads: int, per: int, seconds: float, amount: Callable[[np.ndarray, int], int]
) -> list[float]:
    """What each pass got done per second, for so many seconds, at least three of them that are long enough."""
    per = max(4096, per // 4096 * 4096)
    memory = Arena(per * threads + 4096, "measuring this machine", huge=True).take(per * threads + 4096)
    list(pool.map(_touch, np.array_split(memory, threads)))   # else the kernel would give one page of zeros for all of it
    results = np.zeros((threads, 8), np.int64)
    args = np.array([memory.ctypes.data, per, 100, results.ctypes.data], np.int64)
    run = linked.function(kernel, 2)
    rates: list[float] = []
    end = perf_counter() + seconds
    while len(rates) < 3 or perf_counter() < end:
        begun = perf_counter()
        list(pool.map(lambda chunk: run(args.ctypes.data, chunk), range(threads)))
        took = perf_counter() - begun
        rates.append(amount(results[:, 0], per) / took)
        if took < SHORTEST and args[2] < 1 << 30:
            args[2], rates = 4 * int(args[2]), []   # rounds, of a kernel that counts them
    return rates


def _touch(part: np.ndarray) -> None:
    part[::4096] = 1


# ---- what is kept ------------------------------------------------------------------------------------------------------


def _file() -> Path:
    return config.home() / "ceilings.json"


def _read_kept() -> dict[str, dict[str, float]]:
    """Figures by key that are good still. A file that makes no sense holds none."""
    found: dict[str, dict[str, float]] = {}
    with suppress(OSError, ValueError, RecursionError), open(_file(), "rb") as file:
        entries: Any = json.loads(file.read(1 << 16))
        for key, entry in entries.items() if isinstance(entries, dict) else ():
            if isinstance(entry, dict) and all(_sensible(entry.get(name)) for name in ("read", "macs", "at")) and 0 <= time.time() - entry["at"] < KEPT:
                found[key] = entry
    return found


def _sensible(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def _keep(key: str, figures: Ceilings) -> None:
    """Write them down where that is possible."""
    entries = list((_read_kept() | {key: asdict(figures) | {"at": time.time()}}).items())[-_MOST_KEPT:]
    with suppress(OSError):
        _file().parent.mkdir(parents=True, exist_ok=True)
    keep(_file(), json.dumps(dict(entries), indent=1).encode())
