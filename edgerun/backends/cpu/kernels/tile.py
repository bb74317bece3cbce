"""Operations on tiles: T tokens side by side, unrolled while the IR is built. Knows no format.

Strides are bytes from one token to the next. What a tile computes for a token has the same bits for every T.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.simd import F32, Tile, i64, op

FLOAT, INT = ir.FloatType(), ir.IntType(32)


def address(b: Any, base: Any, stride: Any, t: int) -> Any:
    """base + t * stride."""
    return b.add(base, b.mul(stride, ir.Constant(ir.IntType(64), t))) if t else base


def broadcast(b: Any, at: Any, scalar: Any, vector: S.Vector) -> Any:
    """The scalar at an address in every lane."""
    return S.splat_of(b, S.load_at(b, at, scalar), vector.ir)


class TileOps:
    """The operations of a tile of `count` tokens."""

    def __init__(self, count: int) -> None:
        self.count, self.floats = count, Tile(F32, count)
        floats = self.floats

        def each(b: Any, tile: Any, f: Callable[[int], Any]) -> Any:
            for t in range(count):
                tile = b.insert_value(tile, f(t), t)
            return tile

        def at(b: Any, tile: Any, t: int) -> Any:
            return b.extract_value(tile, t)

        @op(floats)
        def zero(b: Any) -> Any:
            return ir.Constant(floats.ir, [[0.0] * 16] * count)

        @op(floats, i64, i64)
        def load(b: Any, p: Any, stride: Any) -> Any:
            return each(b, ir.Constant(floats.ir, ir.Undefined), lambda t: S.load_at(b, address(b, p, stride, t), F32.ir))

        @op(types.void, i64, i64, floats)
        def store(b: Any, p: Any, stride: Any, tile: Any) -> None:
            for t in range(count):
                S.store_at(b, address(b, p, stride, t), at(b, tile, t))

        @op(floats, floats, floats, F32)
        def add_scaled(b: Any, acc: Any, x: Any, scale: Any) -> Any:
            """acc[t] + x[t] * scale."""
            return each(b, acc, lambda t: S.fused(b, at(b, x, t), scale, at(b, acc, t)))

        @op(floats, floats, F32, i64, i64)
        def add_product(b: Any, acc: Any, v: Any, x: Any, stride: Any) -> Any:
            """acc[t] + v * (the float of token t at x)."""
            return each(b, acc, lambda t: S.fused(b, v, broadcast(b, address(b, x, stride, t), FLOAT, F32), at(b, acc, t)))

        @op(floats, floats, F32)
        def add_vector(b: Any, acc: Any, v: Any) -> Any:
            return each(b, acc, lambda t: b.fadd(at(b, acc, t), v))

        @op(floats, floats, floats)
        def add(b: Any, x: Any, y: Any) -> Any:
            return each(b, x, lambda t: b.fadd(at(b, x, t), at(b, y, t)))

        @op(floats, floats, i64, i64)
        def scale_by(b: Any, tile: Any, p: Any, stride: Any) -> Any:
            """tile[t] * (the float of token t at p)."""
            return each(b, tile, lambda t: b.fmul(at(b, tile, t), broadcast(b, address(b, p, stride, t), FLOAT, F32)))

        self.zero, self.load, self.store, self.add_scaled = zero, load, store, add_scaled
        self.add_product, self.add_vector, self.add, self.scale_by = add_product, add_vector, add, scale_by
