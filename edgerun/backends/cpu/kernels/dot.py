"""The two primitives that differ by ISA: the dot product of four bytes, and the lookup of a byte in a table of 16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.simd import I32, U8

_I32, _BYTE = ir.IntType(32), ir.IntType(8)


def lookup(values: tuple[int, ...]) -> Callable[[Any, Any], Any]:
    """Emitter on 64 bytes of indices 0..15: the bytes `values` at them."""
    table = [(v + 128) % 256 - 128 for v in (*values, *[0] * (16 - len(values)))]

    def pick(b: Any, index: Any) -> Any:
        if S.ISA in ("amx", "avx512vnni"):
            return S.invoke(b, "llvm.x86.avx512.pshuf.b.512", U8.ir, ir.Constant(U8.ir, table * 4), index)
        if S.ISA == "avx2":
            half = ir.VectorType(_BYTE, 32)
            parts = [S.invoke(b, "llvm.x86.avx2.pshuf.b", half, ir.Constant(half, table * 2), S.pick(b, index, list(range(s, s + 32)))) for s in (0, 32)]
            return S.join(b, *parts)
        result = S.constant(U8.ir, table[0])
        for i, value in enumerate(table[1:], 1):
            result = b.select(b.icmp_unsigned("==", index, S.constant(U8.ir, i)), S.constant(U8.ir, value), result)
        return result

    return pick


def _dot4_avx512vnni(b: Any, acc: Any, codes: Any, x: Any) -> Any:
    # LLVM 22 takes bytes here and upgrades this older form, with 32-bit operands, by itself.
    return S.invoke(b, "llvm.x86.avx512.vpdpbusd.512", I32.ir, acc, b.bitcast(codes, I32.ir), x)


def _dot4_avx2(b: Any, acc: Any, codes: Any, x: Any) -> Any:
    """pmaddubsw + pmaddwd on two halves. pmaddubsw saturates beyond 2 * 128 * 127: the high bit of 8-bit codes goes by itself."""
    words, quads = ir.VectorType(ir.IntType(16), 16), ir.VectorType(_I32, 8)
    x = b.bitcast(x, U8.ir)
    parts = []
    for s in (0, 32):
        c, y = (S.pick(b, v, list(range(s, s + 32))) for v in (codes, x))
        pairs = S.invoke(b, "llvm.x86.avx2.pmadd.ub.sw", words, c, y)
        parts.append(S.invoke(b, "llvm.x86.avx2.pmadd.wd", quads, pairs, S.constant(words, 1)))
    return b.add(acc, S.join(b, *parts))


def _dot4_portable(b: Any, acc: Any, codes: Any, x: Any) -> Any:
    wide = ir.VectorType(_I32, 64)
    product = b.mul(b.zext(codes, wide), b.sext(b.bitcast(x, U8.ir), wide))
    for j in range(4):
        acc = b.add(acc, S.pick(b, product, list(range(j, 64, 4))))
    return acc


_DOT4 = {"amx": _dot4_avx512vnni, "avx512vnni": _dot4_avx512vnni, "avx2": _dot4_avx2, "portable": _dot4_portable}


def dot4(b: Any, acc: Any, codes: Any, x: Any, bits: int) -> Any:
    """acc[i] += sum over j of codes[4i + j] * x[4i + j]; codes unsigned bytes below 2^bits, x signed bytes from -127."""
    if S.ISA == "avx2" and bits == 8:
        # 8-bit codes are used with a bias of 128: c = (c & 127) + 128 * (c >> 7), both halves small enough not to saturate.
        low = b.and_(codes, S.constant(U8.ir, 127))
        high = b.and_(codes, S.constant(U8.ir, -128))
        acc = _dot4_avx2(b, acc, low, x)
        ones = b.and_(b.bitcast(b.lshr(b.bitcast(high, ir.VectorType(ir.IntType(16), 32)), S.constant(ir.VectorType(ir.IntType(16), 32), 7)), U8.ir), S.constant(U8.ir, 1))
        hundreds = _dot4_avx2(b, S.constant(I32.ir, 0), ones, x)
        return b.add(acc, b.shl(hundreds, S.constant(I32.ir, 7)))
    return _DOT4[S.ISA](b, acc, codes, x)
