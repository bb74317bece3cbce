"""y = W x for float weights (f32, f16, bf16) and float activations, summed in float32. Knows no format beyond those three.

The argument block is the one of `product`, with XQ the float activations, XD bytes from one token to the next, XS not read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgerun.backends.cpu.kernels import product as P
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.tile import TileOps

_LOAD = {
    "f32": (64, lambda: S.load_f32),
    "f16": (32, lambda: S.load_half),
    "bf16": (32, lambda: S.load_bf16),
}


def stretch(kind: str, T: int) -> Any:
    """Sums of one row block for T tokens; stride: bytes from one token's activations to the next's."""
    tile = TileOps(T)
    zero, add_product = tile.zero, tile.add_product
    SIZE, load = _LOAD[kind][0], _LOAD[kind][1]()

    @S.inner
    def sums(p: int, cols: int, x: int, stride: int) -> Any:
        acc = zero()
        for _ in range(cols):
            S.prefetch(p + 2048)
            acc = add_product(acc, load(p), x, stride)
            p += SIZE
            x += 4
        return acc

    return sums


def build(kind: str) -> Callable[[int, int], None]:
    """The kernel of one float kind: chunk c of CHUNKS does its part of the row blocks for all tokens."""
    SIZE = _LOAD[kind][0]
    sums8, sums4, sums1 = (stretch(kind, t) for t in (8, 4, 1))
    write8, write4, write1 = (P.writer(TileOps(t)) for t in (8, 4, 1))

    def product_float(args: int, chunk: int) -> None:
        w, cols, tokens = S.word(args, P.W), S.word(args, P.BLOCKS), S.peek(S.word(args, P.TOKENS))
        x, stride = S.word(args, P.XQ), S.word(args, P.XD)
        blocks, chunks = S.word(args, P.ROW_BLOCKS), S.word(args, P.CHUNKS)
        per = (blocks + chunks - 1) // chunks
        first, last = chunk * per, min(chunk * per + per, blocks)
        for block in range(first, last):
            p, t = w + block * cols * SIZE, 0
            while t + 8 <= tokens:
                write8(args, 16 * block, t, sums8(p, cols, x + t * stride, stride))
                t += 8
            if t + 4 <= tokens:
                write4(args, 16 * block, t, sums4(p, cols, x + t * stride, stride))
                t += 4
            while t < tokens:
                write1(args, 16 * block, t, sums1(p, cols, x + t * stride, stride))
                t += 1

    return product_float
