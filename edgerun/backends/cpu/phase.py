"""A phase: a kernel over an argument block, cut into chunks. What ops become (`lowering/`) and threads walk through (`kernels/run.py`)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

Word = int | str   # a word of an argument block; a str names a kernel whose address goes there once it is linked


@dataclass(frozen=True)
class Phase:
    """A kernel, its arguments and its number of chunks: fixed + per row tile (ROWS or OUTPUTS) or per attention tile."""

    kernel: str
    args: int
    fixed: int = 0
    per_rows: int = 0
    per_tile: int = 0
    on_outputs: bool = False


@dataclass(frozen=True)
class Quantized:
    """int8 activations of a view: addresses of codes, scales, sums of 16 and of 32 columns."""

    q: int
    d: int
    sums: int
    pairs: int


def bits(x: float) -> int:
    """A float32 in the low half of a word."""
    return struct.unpack("<I", struct.pack("<f", x))[0]
