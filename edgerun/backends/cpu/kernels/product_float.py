"""y = W x for float weights (f32, f16, bf16) and float activations, summed in float32. Knows no format beyond those three.

The argument block is the one of `product`, with XQ the float activations, XD bytes from one token to the next, XS not read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgerun.backends.cpu.kernels import panel, prefetch
from edgerun.backends.cpu.kernels import product as P
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.tile import TileOps

_LOAD = {
    "f32": (64, lambda: S.load_f32),
    "f16": (32, lambda: S.load_half),
    "bf16": (32, lambda: S.load_bf16),
}

SIZES = {kind: size for kind, (size, _) in _LOAD.items()}   # bytes of a column of 16 rows


def stretch(kind: str, T: int) -> Any:
    """Sums of one row block for T tokens; stride: bytes from one token's activations to the next's."""
    tile = TileOps(T)
    zero, add_product = tile.zero, tile.add_product
    SIZE, load, ask = _LOAD[kind][0], _LOAD[kind][1](), prefetch.ask
    EVERY = prefetch.PAIR // SIZE

    @S.inner
    def sums(p: int, cols: int, x: int, stride: int) -> Any:
        acc = zero()
        for column in range(cols):
            if column % EVERY == 0:
                ask(p)
            acc = add_product(acc, load(p), x, stride)
            p += SIZE
            x += 4
        return acc

    return sums


def over_tokens(kind: str, writer: Callable[[TileOps], P.Writer]) -> Any:
    """An inner function (args, p, cols, row, first, last) that does tokens first:last with the row block at p, whose first row is `row`."""
    sums8, sums4, sums1 = (stretch(kind, t) for t in (8, 4, 1))
    write8, write4, write1 = (writer(TileOps(t)).write for t in (8, 4, 1))

    @S.inner
    def run(args: int, p: int, cols: int, row: int, first: int, last: int) -> None:
        x, stride, t = S.word(args, P.XQ), S.word(args, P.XD), first
        while t + 8 <= last:
            write8(args, row, t, sums8(p, cols, x + t * stride, stride))
            t += 8
        if t + 4 <= last:
            write4(args, row, t, sums4(p, cols, x + t * stride, stride))
            t += 4
        while t < last:
            write1(args, row, t, sums1(p, cols, x + t * stride, stride))
            t += 1

    return run


def build(kind: str) -> Callable[[int, int], None]:
    """The kernel of one float kind: a chunk does its `product.share` of the row blocks for all tokens."""
    SIZE, run, share = SIZES[kind], over_tokens(kind, P.writer), P.share

    def product_float(args: int, chunk: int) -> None:
        w, cols, tokens = S.word(args, P.W), S.word(args, P.BLOCKS), S.peek(S.word(args, P.TOKENS))
        begin, end = share(args, chunk)
        record = S.word(args, P.RAW)
        room = panel.enter(record)
        for block in range(begin, end):
            p = panel.at(record, room, block, w + block * cols * SIZE)
            run(args, p, cols, 16 * block, 0, tokens)
        panel.leave(room)

    return product_float
