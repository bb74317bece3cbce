"""From a Packing to the functions of a format: codes, scale and offset of a sub-block. Knows no format by name.

p is the address of a packed block of 16 rows (`formats/packing.py` draws it), s the sub-block. All unpacking is unrolled
while the IR is built, so no address and no branch depends on anything but p and s.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from edgerun.backends.cpu.kernels import activations as A
from edgerun.backends.cpu.kernels import fields
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.simd import F32, U8, i64, op
from edgerun.formats.packing import Packing

_I64 = ir.IntType(64)
_WIDE = ir.VectorType(ir.IntType(16), 32)


def _second_half(b: Any, v: Any, s: Any) -> Any:
    """The upper nibble of each byte moved down where s is odd; what is above it then means nothing."""
    by = b.trunc(b.shl(b.and_(s, _I64(1)), _I64(2)), _WIDE.element)
    return b.bitcast(b.lshr(b.bitcast(v, _WIDE), S.splat_of(b, by, _WIDE)), U8.ir)


def lean(packing: Packing) -> int | None:
    """By how many bits codes are shifted up so that dot products can begin with the starts of activations; None where they do not."""
    return packing.lean if A.LEANS else None


def _groups(b: Any, packing: Packing, p: Any, s: Any) -> Any:
    """The u8 codes of each group of 4 columns of sub-block s, one vector after another; nibbles to be looked up as `fields.lookup` takes them."""
    loose, shared = fields.NIBBLES and packing.table and packing.bits == 4, packing.span > packing.sub
    span = b.lshr(s, _I64(1)) if shared else s
    start = b.add(b.add(p, _I64(packing.codes_at)), b.mul(span, _I64(64 * packing.vectors)))
    loaded = [S.load_at(b, b.add(start, _I64(64 * v)), U8.ir) for v in range(packing.vectors)]
    if shared:
        loaded = [_second_half(b, v, s) for v in loaded]
    for group in range(packing.sub // 4):
        code, up = None, lean(packing) or 0
        for v, at, bits in packing.pieces(group):
            part = fields.shifted(b, loaded[v], at) if loose else fields.field(b, loaded[v], at, bits, up)
            code, up = (part if code is None else b.or_(code, part)), up + bits
        yield code


def unsigned(b: Any, packing: Packing, p: Any, s: Any) -> Any:
    """What multiplies the activations, as u8: the codes of each group of 4 columns, or what the table says they stand for."""
    bias = packing.bias if lean(packing) is None else 128
    pick = fields.lookup(tuple(v + bias for v in packing.table)) if packing.table else None
    for codes in _groups(b, packing, p, s):
        yield pick(b, codes) if pick else codes


def largest(packing: Packing) -> int:
    """The largest number that `dots` multiplies activations with."""
    return max(v + packing.bias for v in packing.table) if packing.table else (1 << packing.bits) - 1


def wide(packing: Packing) -> bool:
    """Whether weights leave no room in a byte for being shifted up by the low bits of activations."""
    return largest(packing) << A.LOW_BITS > 255


def has_offset(packing: Packing) -> bool:
    """Whether anything is added per sub-block."""
    return packing.offset != "bias" or (packing.bias != 0 and lean(packing) is None)


def unpack(packing: Packing) -> Any:
    """Intrinsic (p, s, out): write what `dots` multiplies with, as the tiles of AMX that meet a unit of 32 columns.

    A tile is [16][64] bytes, one row of it for 4 columns: 8 rows for the activations' high bytes, 8 for the low ones. Where there is
    room in a byte, the weights that meet the high ones are shifted up, so that one tile serves for both; else each has its own. In a
    sub-block of 16 columns, the rows of the other 16 are zeros.
    """
    apart = wide(packing)

    @op(types.void, i64, i64, i64)
    def sub_block(b: Any, p: Any, s: Any, out: Any) -> None:
        zeros = ir.Constant(U8.ir, [0] * 64)
        here = there = _I64(0)
        if packing.sub == 16:
            here = b.mul(b.and_(s, _I64(1)), _I64(256))
            there = b.sub(_I64(256), here)
        low_at = _I64(1536 if apart else 512)
        for group, codes in enumerate(unsigned(b, packing, p, s)):
            to = b.add(out, _I64(64 * group))
            S.store_at(b, b.add(to, here), codes if apart else fields.shifted(b, codes, -A.LOW_BITS))
            S.store_at(b, b.add(b.add(to, here), low_at), codes)
            if packing.sub == 16:
                S.store_at(b, b.add(to, there), zeros)
                S.store_at(b, b.add(b.add(to, there), low_at), zeros)
        if apart:
            for row in range(8):
                S.store_at(b, b.add(out, _I64(512 + 64 * row)), zeros)
                S.store_at(b, b.add(out, _I64(1024 + 64 * row)), zeros)

    return sub_block


def broad(packing: Packing) -> bool:
    """Whether the activations that it meets share a scale by 32 columns (`phase.reads`)."""
    return A.LEANS and packing.integral


def _half(b: Any, p: Any, at: int, s: Any, each: bool, brain: bool = False) -> Any:
    """The 16 halves (brain: bfloat16) at p + at (+ 32 s where there is one for each sub-block), as floats."""
    start = b.add(p, _I64(at))
    v = S.load_at(b, b.add(start, b.mul(s, _I64(32))) if each else start, S.F16.ir)
    return S.widen_bf16_emit(b, v) if brain else S.widen_emit(b, v)


def _bytes(b: Any, p: Any, at: int, s: Any, signed: bool) -> Any:
    """The 16 bytes of sub-block s at p + at, as floats."""
    v = S.load_at(b, b.add(b.add(p, _I64(at)), b.mul(s, _I64(16))), ir.VectorType(ir.IntType(8), 16))
    return b.sitofp(b.sext(v, S.I32.ir), F32.ir) if signed else b.uitofp(b.zext(v, S.I32.ir), F32.ir)


def scale(packing: Packing) -> Any:
    """Intrinsic (p, s) -> the scale of 16 rows."""

    @op(F32, i64, i64)
    def of_sub_block(b: Any, p: Any, s: Any) -> Any:
        return scale_of(b, packing, p, s)

    return of_sub_block


def scale_of(b: Any, packing: Packing, p: Any, s: Any) -> Any:
    """Emitter: the same."""
    d = _half(b, p, 0, s, packing.tops > 1, packing.scale == "bf16")
    unit = packing.unit / (1 << (lean(packing) or 0))
    if unit != 1:
        d = b.fmul(d, S.constant(F32.ir, unit))
    return d if not packing.scaled else b.fmul(d, _bytes(b, p, packing.scales_at, s, packing.scale == "f16*s8"))


def offset(packing: Packing) -> Any:
    """Intrinsic (p, s, scale) -> what is added once per sub-block, times the sum of its activations."""

    @op(F32, i64, i64, F32)
    def of_sub_block(b: Any, p: Any, s: Any, scaled: Any) -> Any:
        if packing.offset == "bias":
            return b.fmul(scaled, S.constant(F32.ir, -float(packing.bias)))
        m = _half(b, p, packing.m_at, s, packing.tops > 1)
        return m if packing.offset == "f16" else b.fneg(b.fmul(m, _bytes(b, p, packing.mins_at, s, False)))

    return of_sub_block
