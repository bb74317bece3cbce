"""How activations are quantized and where they lie, for the kernels that write and that read them. Knows no format.

Integers q and scales d, so that x is about q * d. Three schemes, by ISA (and a fourth one in `superblock.py`):

    bytes   |q| <= 127, a scale for 16 columns; a unit is 16 columns: [16] int8
    broad   the same with a scale for 32 columns, which stands twice: for formats of 256 columns, where dot products lean
    split   |q| <= 511, a scale for 32 columns, q = 4 * high + low; a unit is 32 columns: [32] high, int8, [32] low, 0..3.
            For AMX: a tile multiplies 64 bytes at the price of 16, and what costs is to scale its sums.

Rows come in groups of 16, so that a tile finds its rows next to each other, at distances that are constants:

    units    [rows/16][cols/unit][16 rows][bytes of a unit]
    scales   [rows/16][cols/16][16 rows]        float32; with `split`, each stands twice
    sums     [rows/16][cols/sub][16 rows]       float32, sums of q * d over 16 and over 32 columns

    starts   [rows/16][cols/16][16 rows]       int32, -128 times the sums of q over 16 columns; where dot products lean

A dot product leans, with AVX-512 VNNI, on the start of its activations: codes are then bytes with a bias of 128, and that is gone without a
product of floats.

The rows beyond the last whole group (one, in decode) lie each by itself, [cols]: a lone row would waste most of each cache line.
"""

from __future__ import annotations

from typing import Any

from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.control import GROUP
from edgerun.backends.cpu.kernels.simd import I32, op

SPLIT = S.ISA == "amx"
LEANS = S.ISA == "avx512vnni"   # `isa.Isa.leans`
LOW_BITS = 2
LARGEST = 511 if SPLIT else 127
COLUMNS, UNIT = (32, 64) if SPLIT else (16, 16)   # columns and bytes of a unit
ROW = 2 if SPLIT else 1                           # bytes of a column


class Layout:
    """Distances in bytes: from unit to unit, and from one float to the next of the same row."""

    def __init__(self, grouped: bool) -> None:
        self.grouped = grouped
        self.units = UNIT * GROUP if grouped else UNIT
        self.floats = 4 * GROUP if grouped else 4


GROUPED, PLAIN = Layout(True), Layout(False)


def halves(bits: int) -> tuple[Any, Any]:
    """Functions of whole numbers: q / 2^bits, rounded down, and what that leaves."""

    @op(I32, I32)
    def high(b: Any, q: Any) -> Any:
        return b.ashr(q, S.constant(I32.ir, bits))

    @op(I32, I32)
    def low(b: Any, q: Any) -> Any:
        return b.and_(q, S.constant(I32.ir, (1 << bits) - 1))

    return high, low


high, low = halves(LOW_BITS)


def joined(b: Any, high: Any, low: Any) -> Any:
    """Emitter: the sums over q from those over its halves."""
    return b.add(b.shl(high, S.constant(I32.ir, LOW_BITS)), low)
