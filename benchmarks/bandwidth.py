"""What this machine reads from memory: the ceiling of decoding, for which every weight is read once per token. Knows no model.

The measuring itself is edgerun's own (`edgerun/backends/cpu/ceilings.py`), the same that `--stats` and `bench` compare with.
"""

from __future__ import annotations

from edgerun.backends.cpu.ceilings import ceilings


def read_bandwidth(threads: int) -> float:
    """Bytes per second that this many threads read together, measured now."""
    return ceilings(threads, fresh=True).read


if __name__ == "__main__":
    for count in (1, 2):
        print(f"{count} thread{'s' * (count > 1)}: {read_bandwidth(count) / 1e9:.1f} GB/s")
