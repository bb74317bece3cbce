"""What codes are made of: a field of bits of each of 64 bytes, and the lookup of a byte in a table of 16. Knows no format.

Each ISA that has an instruction for one of them has its row in `_FIELD` or `_LOOKUP`; `selftest.py` tries both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.simd import U8

_BYTE = ir.IntType(8)

Emit = Callable[..., Any]


def _signed(v: int) -> int:
    """The byte as LLVM takes it for a constant."""
    return (v + 128) % 256 - 128


# --- lookup: (builder, 16 bytes, indices) -> bytes ------------------------------------------------------------------------


def _lookup_vbmi(b: Any, table: list[int], index: Any) -> Any:
    # A table of 64: four times the same, so that bits 4 and 5 mean nothing, as 6 and 7 do anyway.
    return S.invoke(b, "llvm.x86.avx512.permvar.qi.512", U8.ir, ir.Constant(U8.ir, table * 4), index)


def _lookup_avx512(b: Any, table: list[int], index: Any) -> Any:
    return S.invoke(b, "llvm.x86.avx512.pshuf.b.512", U8.ir, ir.Constant(U8.ir, table * 4), index)


def _lookup_avx2(b: Any, table: list[int], index: Any) -> Any:
    both = ir.Constant(ir.VectorType(_BYTE, 32), table * 2)
    return S.by_parts(b, 2, lambda i: S.invoke(b, "llvm.x86.avx2.pshuf.b", both.type, both, i), index)


def _lookup_neon(b: Any, table: list[int], index: Any) -> Any:
    one = ir.Constant(ir.VectorType(_BYTE, 16), table)
    return S.by_parts(b, 4, lambda i: S.invoke(b, "llvm.aarch64.neon.tbl1.v16i8", one.type, one, i), index)


def _lookup_portable(b: Any, table: list[int], index: Any) -> Any:
    result = S.constant(U8.ir, table[0])
    for i, value in enumerate(table[1:], 1):
        result = b.select(b.icmp_unsigned("==", index, S.constant(U8.ir, i)), S.constant(U8.ir, value), result)
    return result


_LOOKUP: dict[str, Emit] = {
    "amx": _lookup_vbmi, "avx512vnni": _lookup_avx512, "avxvnni": _lookup_avx2, "avx2": _lookup_avx2, "neoni8mm": _lookup_neon, "neon": _lookup_neon,
}  # fmt: skip


NIBBLES = _LOOKUP.get(S.ISA) is _lookup_vbmi   # whether an index is the lower four bits of a byte, whatever the others are


def lookup(values: tuple[int, ...]) -> Callable[[Any, Any], Any]:
    """Emitter on 64 bytes of indices 0..15 (or more, see NIBBLES): the bytes `values` at them."""
    table = [_signed(v) for v in (*values, *[0] * (16 - len(values)))]
    emit = _LOOKUP.get(S.ISA, _lookup_portable)
    return lambda b, index: emit(b, table, index)


# --- field: (builder, bytes, shift, bits, up) -> (bytes >> shift & (2^bits - 1)) << up -----------------------------------------


def _field_gfni(b: Any, v: Any, shift: int, bits: int, up: int) -> Any:
    # A product with a matrix of bits: its row 7 - i says which bits make bit i.
    rows = [1 << (i - up + shift) if up <= i < up + bits else 0 for i in reversed(range(8))]
    return S.invoke(b, "llvm.x86.vgf2p8affineqb.512", U8.ir, v, ir.Constant(U8.ir, [_signed(r) for r in rows] * 8), _BYTE(0))


def _field_portable(b: Any, v: Any, shift: int, bits: int, up: int) -> Any:
    mask = ((1 << bits) - 1) << up
    return b.and_(shifted(b, v, shift - up), S.constant(U8.ir, _signed(mask)))


_FIELD: dict[str, Emit] = {"amx": _field_gfni}


def shifted(b: Any, v: Any, by: int) -> Any:
    """Emitter: each byte shifted right (left, where negative), with bits of its neighbour moved in."""
    wide = ir.VectorType(ir.IntType(16), 32)
    return b.bitcast((b.lshr if by > 0 else b.shl)(b.bitcast(v, wide), S.constant(wide, abs(by))), U8.ir) if by else v


def field(b: Any, v: Any, shift: int, bits: int, up: int) -> Any:
    """Emitter: (v >> shift & (2^bits - 1)) << up on each byte."""
    if bits == 8:
        return v
    return (_field_portable if shift == up else _FIELD.get(S.ISA, _field_portable))(b, v, shift, bits, up)
