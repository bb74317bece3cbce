"""What the machine can do at most: reading memory, and the integer dot product, each with nothing else in the loop.

Knows no model, and none of the primitives that models are computed with: it shows what the instructions themselves give. The
other half is `backends/cpu/ceilings.py`, which gives these kernels memory and threads, and a clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.simd import I32, U8, Tile, i64, op

# The argument block, in 8-byte words: memory, bytes of it (a multiple of 4096) per chunk, rounds, 64 bytes per chunk for the result.
MEMORY, BYTES, ROUNDS, RESULT = range(4)
AHEAD = 2048      # bytes that are asked for before they are needed: where nothing is computed, pages in turn are no better
LINES = 4         # cache lines read side by side
CODES = 4 << 10   # bytes of codes that the dot products go around in: they stay in L1
MACS = 64         # multiplications of a dot product of vectors
TILE_MACS = 16 * 16 * 64

_I64, _BYTE = ir.IntType(64), ir.IntType(8)
Kernel = Callable[[int, int], None]


def _each(b: Any, tile: Any, count: int, f: Callable[[int, Any], Any]) -> Any:
    for t in range(count):
        tile = b.insert_value(tile, f(t, b.extract_value(tile, t)), t)
    return tile


def _integers(count: int) -> tuple[Any, Any, Any]:
    """(all zeros, `count` lines loaded one after the other, sum of all vectors) for tiles of `count` vectors."""
    tile = Tile(I32, count)

    @op(tile)
    def zero(b: Any) -> Any:
        return ir.Constant(tile.ir, [[0] * 16] * count)

    @op(tile, i64)
    def load(b: Any, p: Any) -> Any:
        undefined = ir.Constant(tile.ir, ir.Undefined)
        return _each(b, undefined, count, lambda t, _: S.load_at(b, b.add(p, _I64(64 * t)), I32.ir))

    @op(I32, tile)
    def total(b: Any, v: Any) -> Any:
        result = S.constant(I32.ir, 0)
        for t in range(count):
            result = b.add(result, b.extract_value(v, t))
        return result

    return zero, load, total


def read() -> Kernel:
    """Read chunk number `chunk` of the memory, doing next to nothing with what is read."""
    zero, load, total = _integers(LINES)
    tile = Tile(I32, LINES)

    @op(tile, tile, tile)
    def mix(b: Any, x: Any, y: Any) -> Any:
        return _each(b, x, LINES, lambda t, v: b.or_(v, b.extract_value(y, t)))

    def kernel(args: int, chunk: int) -> None:
        size = S.word(args, BYTES)
        p, seen = S.word(args, MEMORY) + chunk * size, zero()
        for at in range(p, p + size, 64 * LINES):
            for line in range(LINES):
                S.prefetch(at + 64 * line + AHEAD)
            seen = mix(seen, load(at))
        S.poke(S.word(args, RESULT) + 64 * chunk, S.sum_i32_lanes(total(seen)))

    return kernel


# --- dot products of vectors: (builder, sums int32, codes, activations) -> sums --------------------------------------------


def _vnni(bits: int) -> Callable[..., Any]:
    """vpdpbusd on registers of so many bits, of AVX-512 VNNI or AVX-VNNI as the target has it."""
    part = ir.VectorType(ir.IntType(32), bits // 32)
    return lambda b, acc, codes, x: S.by_parts(b, 512 // bits, lambda *v: S.invoke(b, f"llvm.x86.avx512.vpdpbusd.{bits}", part, *v), acc, b.bitcast(codes, I32.ir), x)


def _avx2(b: Any, acc: Any, codes: Any, x: Any) -> Any:
    words, quads = ir.VectorType(ir.IntType(16), 16), ir.VectorType(ir.IntType(32), 8)

    def half(c: Any, y: Any) -> Any:
        pairs = S.invoke(b, "llvm.x86.avx2.pmadd.ub.sw", words, c, y)
        return S.invoke(b, "llvm.x86.avx2.pmadd.wd", quads, pairs, S.constant(words, 1))

    return b.add(acc, S.by_parts(b, 2, half, codes, b.bitcast(x, U8.ir)))


def _neon(name: str) -> Callable[..., Any]:
    """sdot, or smmla, which multiplies twice as much."""
    part = ir.VectorType(ir.IntType(32), 4)
    return lambda b, acc, codes, x: S.by_parts(b, 4, lambda *v: S.invoke(b, f"llvm.aarch64.neon.{name}.v4i32.v16i8", part, *v), acc, codes, b.bitcast(x, U8.ir))


def _portable(b: Any, acc: Any, codes: Any, x: Any) -> Any:
    wide = ir.VectorType(ir.IntType(32), 64)
    product = b.mul(b.zext(codes, wide), b.sext(b.bitcast(x, U8.ir), wide))
    for j in range(4):
        acc = b.add(acc, S.pick(b, product, list(range(j, 64, 4))))
    return acc


# The instruction of each ISA, how many sums go side by side (enough to hide its latency, few enough to stay in registers), and how
# much a dot product multiplies.
_DOTS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "avx512vnni": (_vnni(512), 10, MACS), "avxvnni": (_vnni(256), 5, MACS), "avx2": (_avx2, 2, MACS),
    "neoni8mm": (_neon("smmla"), 4, 2 * MACS), "neon": (_neon("sdot"), 4, MACS), "portable": (_portable, 2, MACS),
}  # fmt: skip


def dots() -> Kernel:
    """One vector of codes from L1 against several of activations in registers, over and over.

    Every chunk works on memory of its own, and leaves the number of its multiplications as the result.
    """
    emit, count, each = _DOTS.get(S.ISA, _DOTS["portable"])
    zero, load, total = _integers(count)
    tile = Tile(I32, count)

    @op(tile, tile, U8, tile)
    def accumulate(b: Any, acc: Any, codes: Any, x: Any) -> Any:
        return _each(b, acc, count, lambda t, v: emit(b, v, codes, b.extract_value(x, t)))

    @op(U8, i64)
    def load_codes(b: Any, p: Any) -> Any:
        return S.load_at(b, p, U8.ir)

    def kernel(args: int, chunk: int) -> None:
        p, rounds = S.word(args, MEMORY) + chunk * S.word(args, BYTES), S.word(args, ROUNDS)
        x, acc = load(p + CODES), zero()
        for i in range(rounds):
            S.poke(p + 64 * (i % (CODES // 64)), i & 7)   # or the compiler would see that all rounds are alike
            for at in range(p, p + CODES, 64):
                acc = accumulate(acc, load_codes(at), x)
        result = S.word(args, RESULT) + 64 * chunk
        S.poke(result, rounds * (CODES // 64) * count * each)
        S.poke(result + 8, S.sum_i32_lanes(total(acc)))   # or it would see that nobody wants it

    return kernel


# --- dot products of AMX tiles ----------------------------------------------------------------------------------------------


def tiles() -> Kernel:
    """tdpbusd on four sums, from two tiles each of codes and of activations, all in registers. As `dots`, it leaves a count.

    Intel, Architecture Instruction Set Extensions, 3.3: a configuration is palette 1, bytes per row at byte 16, rows at byte 48.
    """

    def emit(b: Any, name: str, *numbers: int) -> None:
        S.invoke(b, f"llvm.x86.{name}", ir.VoidType(), *(_BYTE(n) for n in numbers))

    @op(types.void, i64)
    def configure(b: Any, p: Any) -> None:
        S.invoke(b, "llvm.x86.ldtilecfg", ir.VoidType(), b.inttoptr(p, _BYTE.as_pointer()))

    @op(types.void)
    def clear(b: Any) -> None:
        for t in range(8):
            emit(b, "tilezero", t)

    @op(types.void)
    def multiply(b: Any) -> None:
        for total, codes, x in ((0, 4, 6), (1, 4, 7), (2, 5, 6), (3, 5, 7)):
            emit(b, "tdpbusd", total, codes, x)

    @op(types.void)
    def release(b: Any) -> None:
        emit(b, "tilerelease")

    def kernel(args: int, chunk: int) -> None:
        p, rounds = S.word(args, MEMORY) + chunk * S.word(args, BYTES), S.word(args, ROUNDS)
        for i in range(8):
            S.poke(p + 8 * i, 0)
        S.poke(p, 1)
        S.poke(p + 16, 0x0040004000400040)
        S.poke(p + 24, 0x0040004000400040)
        S.poke(p + 48, 0x1010101010101010)
        configure(p)
        clear()
        for _ in range(rounds):
            multiply()
        release()
        S.poke(S.word(args, RESULT) + 64 * chunk, rounds * 4 * TILE_MACS)

    return kernel


def build(name: str) -> Kernel:
    """read, or peak: the best integer dot product of the ISA."""
    if name == "read":
        return read()
    return tiles() if S.ISA == "amx" else dots()
