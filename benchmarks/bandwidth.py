"""What this machine reads from memory: the ceiling of decoding, for which every weight is read once per token. Knows no model.

A gibibyte is read over and over by NumPy's bitwise-or, which does nothing to speak of with what it reads. The best pass
counts: others only show what else the machine was doing. More than a gibibyte of last-level cache would spoil the figure.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np

BYTES = 1 << 30
PASSES = 8


def read_bandwidth(threads: int, nbytes: int = BYTES, passes: int = PASSES) -> float:
    """Bytes per second that this many threads read together."""
    words = np.ones(nbytes // 8, np.uint64)
    parts = np.array_split(words, threads)
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(passes):
            begun = perf_counter()
            list(pool.map(np.bitwise_or.reduce, parts))   # NumPy lets go of the interpreter meanwhile
            best = min(best, perf_counter() - begun)
    return words.nbytes / best


if __name__ == "__main__":
    for count in (1, 2):
        print(f"{count} thread{'s' * (count > 1)}: {read_bandwidth(count) / 1e9:.1f} GB/s")
