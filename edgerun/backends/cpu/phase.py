"""A phase: a kernel over an argument block, cut into chunks. What ops become (`lowering/`) and threads walk through (`kernels/run.py`)."""

from __future__ import annotations

import struct

from edgerun.backends.cpu.isa import Isa
from edgerun.dataclass import dataclass
from edgerun.formats.packing import Packing

Word = int | str   # a word of an argument block; a str names a kernel whose address goes there once it is linked


@dataclass(frozen=True)
class Phase:
    """A kernel, its arguments and its number of chunks: fixed + per row tile (ROWS or OUTPUTS) or per attention tile.

    Where rows have `slots`, also `turns` for every `share` of all slots, but for `most` times at most.
    """

    kernel: str
    args: int
    fixed: int = 0
    per_rows: int = 0
    per_tile: int = 0
    slots: int = 0
    share: int = 1
    most: int = 1 << 40
    turns: int = 1
    on_outputs: bool = False


@dataclass(frozen=True)
class Quantized:
    """Quantized activations of a view: addresses of codes, scales, sums of 16 and of 32 columns, starts."""

    q: int
    d: int
    sums: int
    pairs: int
    starts: int

    def inputs(self, packing: Packing, isa: Isa) -> tuple[int, int, int]:
        """What the kernel of a packing takes of these."""
        if isa.leans and packing.lean is not None:
            return self.q, self.d, self.starts
        return self.q, self.d, self.pairs if packing.sub == 32 else self.sums


def reads(packing: Packing, isa: Isa) -> str:
    """What activations a matrix is multiplied with: floats, codes or broad ones (`kernels/activations.py`), superblocks (`kernels/superblock.py`)."""
    if packing.kind != "code":
        return "floats"
    if not packing.integral:
        return "codes"
    return "superblocks" if isa.superblocks else "broad" if isa.leans else "codes"


def quantized_bytes(kind: str, width: int, max_rows: int, isa: Isa) -> tuple[int, int, int, int, int]:
    """Bytes of the fields of `Quantized` for a view, of codes of either kind or of superblocks."""
    n = max_rows * width
    return (n * isa.activation, n // 64, n // 8, n // 16, 0) if kind == "superblocks" else (n * isa.activation, n // 4, n // 4, n // 8, n // 4 * isa.leans)


def bits(x: float) -> int:
    """A float32 in the low half of a word."""
    return struct.unpack("<I", struct.pack("<f", x))[0]
