"""The dot products of 16 columns, the primitive that differs most by ISA. Knows no format.

Each ISA has its row in `_DOT16`; `selftest.py` tries it. Whole vectors of 64 bytes are multiplied; a machine with shorter registers
does part after part.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.simd import I32, U8

_I32, _I64, _BYTE = ir.IntType(32), ir.IntType(64), ir.IntType(8)
_ZERO = S.constant(I32.ir, 0)

Emit = Callable[..., Any]


def _bytes(n: int) -> Any:
    return ir.VectorType(_BYTE, n)


def _quads(n: int) -> Any:
    return ir.VectorType(_I32, n)


# --- dot16: (builder, codes of 4 groups, address of 16 signed bytes, bits of a code) -> sums of 16 rows ----------------------


def _fours(b: Any, x: Any, n: int) -> list[Any]:
    """The bytes at x, four by four, each four n times over."""
    return [S.splat_of(b, S.load_at(b, b.add(x, _I64(4 * j)), _I32), _quads(n)) for j in range(4)]


def _dot16_avx512(b: Any, codes: list[Any], x: Any, bits: int, acc: Any = _ZERO) -> Any:
    # LLVM 22 takes bytes here and upgrades this older form, with 32-bit operands, by itself; so for 256 bits.
    for c, four in zip(codes, _fours(b, x, 16), strict=True):
        acc = S.invoke(b, "llvm.x86.avx512.vpdpbusd.512", I32.ir, acc, b.bitcast(c, I32.ir), four)
    return acc


def _dot16_avxvnni(b: Any, codes: list[Any], x: Any, bits: int) -> Any:
    fours, half = _fours(b, x, 8), _quads(8)

    def sums(*parts: Any) -> Any:
        acc = S.constant(half, 0)
        for c, four in zip(parts, fours, strict=True):
            acc = S.invoke(b, "llvm.x86.avx512.vpdpbusd.256", half, acc, b.bitcast(c, half), four)
        return acc

    return S.by_parts(b, 2, sums, *codes)


def _dot16_avx2(b: Any, codes: list[Any], x: Any, bits: int) -> Any:
    """pmaddubsw gives pairs, which must stay below 2^15: those of 4 groups fit for codes of 5 bits, of 2 for 6, of 1 for 7.

    8-bit codes c go as c - 128 with their sign given to x, and 128 times the sum of x, the same for each row, goes by itself.
    """
    fours = [b.bitcast(four, _bytes(32)) for four in _fours(b, x, 8)]
    together = {7: 1, 6: 2}.get(bits, 4) if bits < 8 else 1
    if bits < 8:
        return S.by_parts(b, 2, lambda *parts: _pairs_avx2(b, parts, fours, together), *codes)

    def signed(*parts: Any) -> Any:
        moved = [b.xor(c, S.constant(c.type, -128)) for c in parts]
        sizes = [S.invoke(b, "llvm.abs.v32i8", c.type, c, ir.IntType(1)(0)) for c in moved]
        turned = [S.invoke(b, "llvm.x86.avx2.psign.b", c.type, four, c) for four, c in zip(fours, moved, strict=True)]
        return b.add(_pairs_avx2(b, sizes, turned, 1), hundreds)

    hundreds = b.shl(_pairs_avx2(b, [S.constant(_bytes(32), 1)] * 4, fours, 4), S.constant(_quads(8), 7))
    return S.by_parts(b, 2, signed, *codes)


def _pairs_avx2(b: Any, codes: Any, fours: list[Any], together: int) -> Any:
    """Sums of products of bytes; products of so many groups go together as 16-bit numbers."""
    words, total = ir.VectorType(ir.IntType(16), 16), None
    products = [S.invoke(b, "llvm.x86.avx2.pmadd.ub.sw", words, c, four) for c, four in zip(codes, fours, strict=True)]
    for i in range(0, 4, together):
        pairs = functools.reduce(b.add, products[i : i + together])
        quads = S.invoke(b, "llvm.x86.avx2.pmadd.wd", _quads(8), pairs, S.constant(words, 1))
        total = quads if total is None else b.add(total, quads)
    return total


def _dot16_neon(b: Any, codes: list[Any], x: Any, bits: int) -> Any:
    """sdot takes signed bytes: 8-bit codes c go as c - 128, and 128 times the sum of x, the same for each row, goes by itself."""
    if bits < 8:
        return _dots_neon(b, "sdot", codes, x, S.constant(_quads(4), 0))
    moved = [b.xor(c, S.constant(U8.ir, -128)) for c in codes]
    fours = S.invoke(b, _NEON.format("sdot"), _quads(4), S.constant(_quads(4), 0), S.load_at(b, x, _bytes(16)), S.constant(_bytes(16), 1))
    hundreds = b.shl(S.invoke(b, "llvm.vector.reduce.add.v4i32", _I32, fours), _I32(7))
    return _dots_neon(b, "sdot", moved, x, S.splat_of(b, hundreds, _quads(4)))


def _dot16_neoni8mm(b: Any, codes: list[Any], x: Any, bits: int) -> Any:
    return _dots_neon(b, "sdot" if bits < 8 else "usdot", codes, x, S.constant(_quads(4), 0))


_NEON = "llvm.aarch64.neon.{}.v4i32.v16i8"


def _dots_neon(b: Any, name: str, codes: list[Any], x: Any, start: Any) -> Any:
    """One load of all of x: the instruction picks its four bytes by itself."""
    bytes16, quads = _bytes(16), _quads(4)
    loaded = S.load_at(b, x, quads)
    fours = [b.bitcast(S.pick(b, loaded, [j] * 4), bytes16) for j in range(4)]

    def sums(*parts: Any) -> Any:
        acc = start
        for c, four in zip(parts, fours, strict=True):
            acc = S.invoke(b, _NEON.format(name), quads, acc, c, four)
        return acc

    return S.by_parts(b, 4, sums, *codes)


def _dot16_portable(b: Any, codes: list[Any], x: Any, bits: int) -> Any:
    wide, acc = _quads(64), _ZERO
    for c, four in zip(codes, _fours(b, x, 16), strict=True):
        product = b.mul(b.zext(c, wide), b.sext(b.bitcast(four, U8.ir), wide))
        for j in range(4):
            acc = b.add(acc, S.pick(b, product, list(range(j, 64, 4))))
    return acc


_DOT16: dict[str, Emit] = {
    "amx": _dot16_avx512, "avx512vnni": _dot16_avx512, "avxvnni": _dot16_avxvnni, "avx2": _dot16_avx2, "neoni8mm": _dot16_neoni8mm, "neon": _dot16_neon,
    "portable": _dot16_portable,
}  # fmt: skip


def dot16(b: Any, codes: list[Any], x: Any, bits: int, *start: Any) -> Any:
    """Emitter: sum i = sum over g < 4, j < 4 of codes[g][4i + j] * x[4g + j], exactly; with AVX-512 VNNI plus a start, if there is one.

    codes: four vectors of unsigned bytes below 2^bits; x: the address of 16 signed bytes from -127.
    """
    return _DOT16[S.ISA](b, codes, x, bits, *start)


def dots(b: Any, codes: list[Any], x: Any, turn: Callable[[], None] | None) -> Any:
    """Emitter, for AMX, where activations have two halves: the same over any number of fours of groups. turn: emits what is done before
    each (`prefetch.py`)."""
    acc = _ZERO
    for i in range(0, len(codes), 4):
        if turn:
            turn()
        acc = _dot16_avx512(b, codes[i : i + 4], b.add(x, _I64(4 * i)), 8, acc)
    return acc
