"""The inner loops of attention for a tile of T queries, unrolled while the IR is built: what a kind of keys and values costs is here.

Every number of keys and values is made a float first, exactly, so a kind changes what is read and not what is computed; and a
query's sums run over dimensions and positions in their order, whatever else is in the tile. In pairs (`bfloat.py`) they are rounded
then, and two dimensions or positions are multiplied at once.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from edgerun.backends.cpu.kernels import bfloat
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.kinds import KINDS
from edgerun.backends.cpu.kernels.simd import F16, F32, I32, Tile, i64, op
from edgerun.backends.cpu.kernels.tile import FLOAT, INT, address, broadcast

_I64, _BYTES16 = ir.IntType(64), ir.VectorType(ir.IntType(8), 16)
# Vectors of 16 floats that stay in registers beside the operands, and so queries in a tile of many.
MOST = {"amx": 24, "avx512vnni": 24, "avxvnni": 6, "avx2": 6, "neoni8mm": 6, "neon": 6}.get(S.ISA, 3)


def side_by_side(queries: int) -> int:
    """How many vectors of keys or values go together, so that sums do not wait for each other and nothing spills."""
    return next(n for n in (4, 2, 1) if n * queries <= max(queries, MOST))


def offset(b: Any, base: Any, nbytes: int) -> Any:
    """base + nbytes."""
    return b.add(base, _I64(nbytes)) if nbytes else base


def numbers(b: Any, name: str, at: Any, half: int) -> Any:
    """Emitter: 16 numbers of a kind as floats, without their scale; half: which 4 bits of the bytes."""
    if name == "f32":
        return S.load_at(b, at, F32.ir)
    if name == "f16":
        return S.widen_emit(b, S.load_at(b, at, F16.ir))
    if name == "bf16":
        return b.bitcast(b.shl(b.zext(S.load_at(b, at, F16.ir), I32.ir), S.constant(I32.ir, 16)), F32.ir)
    codes = b.sext(S.load_at(b, at, _BYTES16), I32.ir)
    if name == "q4_0":
        codes = b.ashr(codes if half else b.shl(codes, S.constant(I32.ir, 28)), S.constant(I32.ir, 4 if half else 28))
    return b.sitofp(codes, F32.ir)


class QueryOps:
    """The operations of a tile of `queries` with `width` vectors of keys or values side by side; strides are bytes between queries.

    pairs: whether queries, or what they weigh positions with, come as pairs of bfloat16.
    """

    def __init__(self, queries: int, keys: str, values: str, width: int, pairs: bool) -> None:
        sums, scales, key, value = Tile(F32, queries * width), Tile(F32, width), KINDS[keys], KINDS[values]
        position = value.strip * value.bits // 8

        def add_products(b: Any, acc: Any, vectors: list[Any], x: Any, stride: Any) -> Any:
            """acc[j][t] + vectors[j] * (the float, or the pair, of query t at x)."""
            add = bfloat.add_products if pairs else lambda b, acc, v, y: S.fused(b, v, y, acc)
            for t in range(queries):
                y = broadcast(b, address(b, x, stride, t), *(INT, I32) if pairs else (FLOAT, F32))
                for j, v in enumerate(vectors):
                    at = j * queries + t
                    acc = b.insert_value(acc, add(b, b.extract_value(acc, at), v, y), at)
            return acc

        @op(sums)
        def zero(b: Any) -> Any:
            return ir.Constant(sums.ir, [[0.0] * 16] * (queries * width))

        @op(S.types.void, i64, i64, i64, sums)
        def store(b: Any, p: Any, step: Any, stride: Any, tile: Any) -> None:
            """Vector j of query t to p + j * step + t * stride."""
            for j in range(width):
                for t in range(queries):
                    S.store_at(b, address(b, address(b, p, step, j), stride, t), b.extract_value(tile, j * queries + t))

        @op(scales, i64, i64)
        def key_scales(b: Any, k: Any, block: Any) -> Any:
            """Scales of a strip of `width` blocks of 16 keys."""
            tile = ir.Constant(scales.ir, ir.Undefined)
            for j in range(width if key.scaled else 0):
                tile = b.insert_value(tile, S.widen_emit(b, S.load_at(b, address(b, k, block, j), F16.ir)), j)
            return tile

        def dimension(b: Any, k: Any, block: Any, scale: Any, half: int) -> list[Any]:
            """One of two dimensions of `width` blocks of keys."""
            at = k if key.bits == 4 else offset(b, k, half * 2 * key.bits)
            vectors = [numbers(b, keys, address(b, at, block, j), half) for j in range(width)]
            return [b.fmul(v, b.extract_value(scale, j)) for j, v in enumerate(vectors)] if key.scaled else vectors

        @op(sums, sums, i64, i64, i64, i64, scales)
        def score(b: Any, acc: Any, k: Any, block: Any, x: Any, stride: Any, scale: Any) -> Any:
            """Two dimensions of `width` blocks of keys, `block` bytes apart."""
            if pairs:
                both = [bfloat.pair(b, *ends) for ends in zip(*(dimension(b, k, block, scale, half) for half in range(2)), strict=True)]
                return add_products(b, acc, both, x, stride)
            for half in range(2):
                acc = add_products(b, acc, dimension(b, k, block, scale, half), offset(b, x, 4 * half), stride)
            return acc

        def valued(b: Any, v: Any, scale: Any, odd: Any) -> list[Any]:
            """`width` vectors of one position's values; odd: which half of the strip, where width is 1."""
            halves = value.strip // 16
            vectors = []
            for j in range(width):
                at = offset(b, v, j // halves * value.value_strip)
                if width == 1 and value.bits == 8:
                    at = b.add(at, b.mul(odd, _I64(16)))
                elif value.bits == 8:
                    at = offset(b, at, 16 * (j % 2))
                vector = numbers(b, values, at, j % halves)
                if width == 1 and value.bits == 4:
                    vector = b.select(b.icmp_signed("==", odd, _I64(0)), vector, numbers(b, values, at, 1))
                if value.scaled:
                    vector = b.fmul(vector, broadcast(b, offset(b, scale, j // halves * 256), FLOAT, F32))
                vectors.append(vector)
            return vectors

        def weighed(last: bool) -> Any:
            @op(sums, sums, i64, i64, i64, i64, i64)
            def weigh(b: Any, acc: Any, v: Any, x: Any, stride: Any, scale: Any, odd: Any) -> Any:
                """`width` vectors of one position's values; in pairs of two, but of the last one if their number is odd."""
                vectors = valued(b, v, scale, odd)
                if pairs:
                    others = [S.constant(F32.ir, 0.0)] * width if last else valued(b, offset(b, v, position), offset(b, scale, 4), odd)
                    vectors = [bfloat.pair(b, *both) for both in zip(vectors, others, strict=True)]
                return add_products(b, acc, vectors, x, stride)

            return weigh

        @op(S.types.void, i64)
        def ahead(b: Any, p: Any) -> None:
            """Ask for as many bytes as one `score` reads."""
            for at in range(0, 4 * key.bits * width, 64):
                S.request(b, offset(b, p, at), near=True)

        self.zero, self.store, self.key_scales, self.score, self.weigh, self.weigh_last, self.ahead = zero, store, key_scales, score, weighed(last=False), weighed(last=True), ahead
