"""y = W x for packed integer codes and int8 activations: one driver for every format, for one token and for many.

Decode is bound by memory: each packed byte is used once, with prefetch 2 kB ahead. Prefill is bound by arithmetic: a tile
of 8 tokens shares each unpacked vector. Tokens left over take smaller tiles, which compute the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgerun.backends.cpu.kernels import codes
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.tile import TileOps
from edgerun.formats import by_name

# The argument block, in 8-byte words.
W, BLOCKS, ROW_BLOCKS, PER_CHUNK, XQ, XD, XS, Y, Y_STRIDE, ROWS, BIAS, RESIDUAL, RESIDUAL_STRIDE, TOKENS = range(14)


def writer(tile: TileOps) -> Any:
    """Finish a tile of sums: add bias and residual where there are any, and write rows row:row+16 that exist."""
    T, load, store, add, add_vector = tile.count, tile.load, tile.store, tile.add, tile.add_vector
    room = S.scratch(64 * T)

    @S.inner
    def write(args: int, row: int, t: int, acc: Any) -> None:
        if S.word(args, BIAS):
            acc = add_vector(acc, S.load_f32(S.word(args, BIAS) + 4 * row))
        stride, rows = S.word(args, Y_STRIDE), S.word(args, ROWS)
        y = S.word(args, Y) + t * stride + 4 * row
        residual, r_stride = S.word(args, RESIDUAL), S.word(args, RESIDUAL_STRIDE)
        r = residual + t * r_stride + 4 * row
        if row + 16 <= rows:
            if residual:
                acc = add(acc, load(r, r_stride))
            store(y, stride, acc)
        else:
            edge = room()
            store(edge, 64, acc)
            for k in range(T):
                for i in range(rows - row):
                    v = S.peek_f32(edge + 64 * k + 4 * i)
                    if residual:
                        v += S.peek_f32(r + k * r_stride + 4 * i)
                    S.poke_f32(y + k * stride + 4 * i, v)

    return write


def stretch(packing: Any, T: int) -> Any:
    """Sums of one row block for T tokens."""
    tile = TileOps(T)
    dots, scale, offset = codes.dots(packing, tile), codes.scale(packing), codes.offset(packing)
    zero, add_scaled, add_product = tile.zero, tile.add_scaled, tile.add_product
    COLS, SUB, SUBS, SIZE = packing.cols, packing.sub, packing.subs, packing.size
    LINES = -(-SIZE // SUBS // 64)
    STEP = SIZE // SUBS
    PLAIN = packing.offset == "bias" and packing.bias == 0

    @S.inner
    def sums(p: int, blocks: int, xq: int, xd: int, xs: int) -> Any:
        q_stride = blocks * COLS
        d_stride, s_stride = q_stride // 16 * 4, q_stride // SUB * 4
        acc = zero()
        for _ in range(blocks):
            for s in range(SUBS):
                for line in range(LINES):
                    S.prefetch(p + s * STEP + 64 * line + 2048)
                scaled = scale(p, s)
                acc = add_scaled(acc, dots(p, s, xq, q_stride, xd, d_stride), scaled)
                if not PLAIN:
                    acc = add_product(acc, offset(p, s, scaled), xs, s_stride)
                xq += SUB
                xd += SUB // 4
                xs += 4
            p += SIZE
        return acc

    return sums


def build(name: str) -> Callable[[int, int], None]:
    """The kernel of one format: chunk c does row blocks c * PER_CHUNK and on, for all tokens."""
    packing = by_name(name).packing
    COLS, SUB, SIZE = packing.cols, packing.sub, packing.size
    sums8, sums4, sums2, sums1 = (stretch(packing, t) for t in (8, 4, 2, 1))
    write8, write4, write2, write1 = (writer(TileOps(t)) for t in (8, 4, 2, 1))

    def product(args: int, chunk: int) -> None:
        w, blocks, tokens = S.word(args, W), S.word(args, BLOCKS), S.peek(S.word(args, TOKENS))
        xq, xd, xs = S.word(args, XQ), S.word(args, XD), S.word(args, XS)
        q, d, s = blocks * COLS, blocks * COLS // 16 * 4, blocks * COLS // SUB * 4
        first = chunk * S.word(args, PER_CHUNK)
        last = min(first + S.word(args, PER_CHUNK), S.word(args, ROW_BLOCKS))
        for block in range(first, last):
            p, t = w + block * blocks * SIZE, 0
            while t + 8 <= tokens:
                write8(args, 16 * block, t, sums8(p, blocks, xq + t * q, xd + t * d, xs + t * s))
                t += 8
            if t + 4 <= tokens:
                write4(args, 16 * block, t, sums4(p, blocks, xq + t * q, xd + t * d, xs + t * s))
                t += 4
            if t + 2 <= tokens:
                write2(args, 16 * block, t, sums2(p, blocks, xq + t * q, xd + t * d, xs + t * s))
                t += 2
            if t < tokens:
                write1(args, 16 * block, t, sums1(p, blocks, xq + t * q, xd + t * d, xs + t * s))

    return product
