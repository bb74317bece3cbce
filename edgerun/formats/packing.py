"""How a weight matrix looks once repacked, as data, and the repacking itself. Knows no kernel and no file.

Sixteen rows are interleaved, so that a SIMD lane is a row. One packed block holds 16 rows x `cols` columns:

    d       f16 [cols/sub or 1][16]   scale: one per sub-block ("f16", or "bf16": bfloat16), or one per block (the others)
    m       f16 [cols/sub or 1][16]   offset, where offset is "f16" or "f16*u8": as many as there are of d
    scales  u8/s8 [cols/sub][16]      scale of each sub-block, for "f16*u8" and "f16*s8"
    mins    u8 [cols/sub][16]         offset of each sub-block, for offset "f16*u8"
    codes   [cols/span][n][64]        codes of `bits` bits, n = span/4 * bits/8

A 64-byte vector of codes holds 4 columns (a group) of 16 rows: byte 4 * row + column. A byte is cut into as many fields as hold
a code, of 1, 2, 4 or 8 bits. Groups go to field 0 of the vectors of a span one after another, then to field 1, and so on, so
no address depends on anything but the group. A code is the upper part of its field. Where bits are left below (1 of 4, 3 or 2
of 8), those of field f, vector after vector, are a string from which further groups take their codes, before those of field
f + 1: of 3 and of 6 bits every fourth group, of 5 bits three of eight. A span is a sub-block, or two of 16 columns with 3 bits,
which have a field each. A weight is

    scale * (code - bias)       offset "bias"; with a table scale * table[code], where table + bias fits unsigned bytes
    scale * code + offset       otherwise ("f16*u8": offset = -m * min)

where scale is unit * d, times the scale of the sub-block if it has one, whose magnitude is at most `scale_most`; unit is a power of
two, so nothing is rounded.

Float matrices (`kind` other than "code") are [cols][16] values per 16 rows, a vector per column.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Literal

import numpy as np

from edgerun.dataclass import dataclass
from edgerun.formats.bits import U32

ROWS = 16


@dataclass(frozen=True)
class Packing:
    """The repacked form of a format. Every number a kernel needs follows from these fields."""

    kind: Literal["code", "f32", "f16", "bf16"] = "code"
    bits: int = 4
    cols: int = 32
    sub: int = 32
    scale: Literal["f16", "bf16", "f16/block", "f16*u8", "f16*s8"] = "f16"
    offset: Literal["bias", "f16", "f16*u8"] = "bias"
    bias: int = 0
    table: tuple[int, ...] | None = None
    unit: float = 1.0
    scale_most: int = 1

    @property
    def subs(self) -> int:
        """Sub-blocks of a block."""
        return self.cols // self.sub

    @property
    def levels(self) -> tuple[int, ...]:
        """What each code stands for before it is scaled."""
        if self.table is not None:
            return self.table
        first = -self.bias if self.offset == "bias" else 0
        return tuple(range(first, first + (1 << self.bits)))

    @property
    def tops(self) -> int:
        """Entries of d (and m) per row of a block."""
        return self.subs if self.scale in ("f16", "bf16") else 1

    @property
    def scaled(self) -> bool:
        """Whether each sub-block has an integer scale of its own."""
        return self.scale in ("f16*u8", "f16*s8")

    @property
    def integral(self) -> bool:
        """Whether all but one scale (and one of the offsets) of 256 columns are whole numbers."""
        return self.kind == "code" and self.cols == 256 and self.tops == 1

    @property
    def lean(self) -> int | None:
        """Bits that codes can be shifted up by in a byte so that their bias is 128, or that values of the table can; None where that cannot be."""
        if self.kind != "code" or self.offset != "bias" or self.bias == 0:
            return None
        if self.table:
            return 0
        return next((up for up in range(8) if self.bias << up == 128 and (1 << self.bits) - 1 << up < 256), None)

    @property
    def span(self) -> int:
        """Columns whose codes fill vectors by themselves: a sub-block, or two that share them."""
        return max(self.sub, 32 // math.gcd(self.bits, 32))

    @property
    def vectors(self) -> int:
        """Vectors of a span."""
        return self.span * self.bits // 32

    @property
    def field(self) -> int:
        """Bits of a field: a byte is cut into as many as hold a code."""
        return 8 // (8 // self.bits)

    @property
    def layer(self) -> int:
        """Groups of a span whose codes are in the same field of its vectors."""
        return self.span * self.field // 32

    def pieces(self, group: int) -> list[tuple[int, int, int]]:
        """(vector of the span, lowest bit in its bytes, bits) of all that makes up the codes of a group of a span, low bits first."""
        rest, (layer, place) = self.field - self.bits, divmod(group, self.layer)
        up = self.field * layer
        if place < self.vectors:
            return [(place, up + rest, self.bits)]
        first = (place - self.vectors) * self.bits   # in the string of the rests
        cuts = [first, *(at for at in range(first + 1, first + self.bits) if at % rest == 0), first + self.bits]
        return [(start // rest, up + start % rest, stop - start) for start, stop in itertools.pairwise(cuts)]

    @property
    def heads(self) -> tuple[tuple[str, int, int], ...]:
        """(field of Parts, entries per row, byte offset in the block) of everything before the codes."""
        every = (
            ("d", self.tops, 0),
            ("m", self.tops, self.m_at),
            ("scales", self.subs, self.scales_at),
            ("mins", self.subs, self.mins_at),
        )
        there = (True, self.offset != "bias", self.scaled, self.offset == "f16*u8")
        return tuple(head for head, is_there in zip(every, there, strict=True) if is_there)

    @property
    def m_at(self) -> int:
        """Byte offset of m."""
        return 32 * self.tops

    @property
    def scales_at(self) -> int:
        """Byte offset of the sub-block scales."""
        return self.m_at + (32 * self.tops if self.offset != "bias" else 0)

    @property
    def mins_at(self) -> int:
        """Byte offset of the sub-block minima."""
        return self.scales_at + (16 * self.subs if self.scaled else 0)

    @property
    def codes_at(self) -> int:
        """Byte offset of the codes."""
        return self.mins_at + (16 * self.subs if self.offset == "f16*u8" else 0)

    @property
    def size(self) -> int:
        """Bytes of one packed block of 16 rows x cols columns (of one column for floats)."""
        if self.kind != "code":
            return ROWS * (4 if self.kind == "f32" else 2)
        return self.codes_at + ROWS * self.cols * self.bits // 8

    def nbytes(self, rows: int, cols: int) -> int:
        """Bytes of a packed matrix; rows are padded to a multiple of 16."""
        blocks = cols if self.kind != "code" else cols // self.cols
        return -(-rows // ROWS) * blocks * self.size


@dataclass(frozen=True)
class Parts:
    """A stretch of matrix taken apart: what the blocks of a file say, one array per noun, rows first.

    codes uint8 [rows, cols]; d and m float16 [rows, cols / block * tops]; scales and mins uint8 or int8 [rows, cols / sub].
    For float kinds: codes holds the values themselves, in their own type. Of bfloat16, d or codes, the bits: uint16.
    """

    codes: np.ndarray
    d: np.ndarray | None = None
    m: np.ndarray | None = None
    scales: np.ndarray | None = None
    mins: np.ndarray | None = None


def pack(packing: Packing, parts: Parts, out: np.ndarray) -> None:
    """Write `parts` (rows a multiple of 16) in the packed layout to `out`, uint8 [rows / 16, bytes per row block]."""
    words = parts.codes if packing.kind != "code" else merge(packing, parts.codes)
    interleave(packing, {name: getattr(parts, name) for name, _, _ in packing.heads}, words, out)


def merge(packing: Packing, codes: np.ndarray) -> np.ndarray:
    """Codes uint8 [rows, cols] -> uint32 [rows, blocks, words]: those of a row joined, rows still apart."""
    groups = np.ascontiguousarray(np.ascontiguousarray(codes).view(U32).reshape(-1, packing.span // 4).T)
    words = np.zeros((packing.vectors, groups.shape[1]), U32)
    for number, group in enumerate(groups):
        done = 0
        for vector, at, bits in packing.pieces(number):
            words[vector] |= (group >> done & ((1 << bits) - 1) * 0x01010101) << at
            done += bits
    return words.T.reshape(codes.shape[0], codes.shape[1] // packing.cols, -1)


def interleave(packing: Packing, heads: Mapping[str, np.ndarray], words: np.ndarray, out: np.ndarray) -> None:
    """Make rows lanes: write to `out`, uint8 [rows / 16, bytes per row block], rows being a multiple of 16.

    heads: by name, as in Parts. words: uint32 [rows, blocks, ...], in the order of the packed block (values for float kinds); the
    last axes may be several and strided in any way.
    """
    block = out.reshape(out.shape[0], -1, packing.size)
    if packing.kind != "code":
        _lanes(block, 0, words[..., None])
        return
    for name, count, at in packing.heads:
        _lanes(block, at, heads[name].reshape(-1, block.shape[1], count))
    _lanes(block, packing.codes_at, words)


def _lanes(block: np.ndarray, at: int, part: np.ndarray) -> None:
    """Write `part` [rows, n, ...] to uint8 [rows / 16, n, size] from byte `at` on, 16 rows next to each other."""
    lanes = part.reshape(-1, ROWS, *part.shape[1:])
    lanes = lanes.transpose(0, *range(2, lanes.ndim), 1)
    room = block[:, :, at : at + lanes[0, 0].nbytes]
    room.view(part.dtype).reshape(lanes.shape)[...] = lanes


def values(packing: Packing, parts: Parts) -> np.ndarray:
    """The weights that `parts` stand for: float32 [rows, cols], computed as llama.cpp does, so equal to the bit."""
    if packing.kind == "bf16":
        return _floats(parts.codes)
    if packing.kind != "code":
        return parts.codes.astype(np.float32)
    rows, cols = parts.codes.shape
    subs = (rows, cols // packing.sub)
    codes = parts.codes if packing.table is None else np.asarray(packing.table, np.int8)[parts.codes]
    x = codes.reshape(*subs, packing.sub).astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):   # a file may say anything: NaN and infinity pass through
        scale, offset = lines(packing, parts)
        if packing.offset == "bias" and packing.table is None:
            x -= np.float32(packing.bias)
        x *= scale.reshape(*subs, 1)
        if offset is not None:
            x += offset.reshape(*subs, 1)
    return x.reshape(rows, cols)


def lines(packing: Packing, parts: Parts) -> tuple[np.ndarray, np.ndarray | None]:
    """Scale and offset of each sub-block, float32 [rows, cols / sub]: a weight is scale * level + offset. None: no offset."""
    each = packing.subs // packing.tops
    scale = _products(parts.d, parts.scales, each) * np.float32(packing.unit)
    if packing.offset == "bias":
        return scale, None
    offset = _products(parts.m, parts.mins, each)
    return scale, offset if parts.mins is None else np.negative(offset, out=offset)


def _products(tops: np.ndarray | None, factors: np.ndarray | None, each: int) -> np.ndarray:
    """float16 or bfloat16 [rows, n], times its `each` factors [rows, n * each] where there are any -> float32 [rows, n * each]."""
    assert tops is not None
    top = np.repeat(_floats(tops), each, axis=1)
    return top if factors is None else top * factors.astype(np.float32)


def _floats(x: np.ndarray) -> np.ndarray:
    """Numbers, or the bits of bfloat16 as uint16, as float32."""
    return (x.astype(np.uint32) << 16).view(np.float32) if x.dtype == np.uint16 else x.astype(np.float32)
