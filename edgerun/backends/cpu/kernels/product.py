"""y = W x for packed integer codes and quantized activations: one driver for every format, for one token and for many.

Decode is bound by memory: each packed byte is used once, and asked for early (`prefetch.py`). Prefill is bound by arithmetic: a tile
of tokens shares each unpacked vector. Tokens left over take smaller tiles, which compute the same bits, as does AMX
(`amx.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from edgerun.backends.cpu.kernels import activations as A
from edgerun.backends.cpu.kernels import amx, codes, panel, scaling, superblock, superblock_tiles
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.control import SHARED, TURNS
from edgerun.backends.cpu.kernels.tile import TileOps
from edgerun.formats import by_name

# The argument block, in 8-byte words.
W, BLOCKS, ROW_BLOCKS, CHUNKS, XQ, XD, XS, Y, Y_STRIDE, ROWS, BIAS, RESIDUAL, RESIDUAL_STRIDE, TOKENS, RAW = range(15)
NEAR_BYTES = 800 << 10   # codes of activations that stay in a core's own cache, next to their scales and the weights


class Writer(NamedTuple):
    """Inner functions of a tile of sums: (args, row, first token) asks for the lines that rows row:row+16 go to, which lie far apart, and
    (args, row, first token, sums) adds what there is to add and writes those rows that exist.
    """

    ask: Any
    write: Any


def writer(tile: TileOps) -> Writer:
    """For sums to which bias and residual are added where there are any."""
    T, load, store, add, add_vector = tile.count, tile.load, tile.store, tile.add, tile.add_vector
    room = S.scratch(64 * T)

    @S.inner
    def ask(args: int, row: int, t: int) -> None:
        for k in range(T):
            S.prefetch_own(S.word(args, Y) + (t + k) * S.word(args, Y_STRIDE) + 4 * row)

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

    return Writer(ask, write)


def stretch(packing: Any, T: int, layout: A.Layout) -> Any:
    """Sums of one row block for T tokens whose activations lie as `layout` says: sub-block by sub-block, or by 32 columns where these share a scale."""
    return (by_units if codes.broad(packing) else by_sub_blocks)(packing, T, layout)


def by_sub_blocks(packing: Any, T: int, layout: A.Layout) -> Any:
    """See `stretch`."""
    tile = TileOps(T)
    dots, scale, offset = scaling.of_sub_block(packing, tile, layout), codes.scale(packing), codes.offset(packing)
    zero, add_scaled, add_product, strides = tile.zero, tile.add_scaled, tile.add_product, strides_of(packing, layout)
    COLS, SUB, SUBS, SIZE = packing.cols, packing.sub, packing.subs, packing.size
    HAS_OFFSET, SUMMED, UNITS, FLOATS, COLUMNS = codes.has_offset(packing), shares(packing)[1], layout.units, layout.floats, A.COLUMNS

    @S.inner
    def sums(p: int, blocks: int, xq: int, xd: int, xs: int) -> Any:
        (q_stride, d_stride, s_stride), acc = strides(blocks * COLS), zero()
        for _ in range(blocks):
            for s in range(SUBS):
                scaled = scale(p, s)
                x = S.one_register(xq + s * SUB // COLUMNS * UNITS + s * SUB % COLUMNS)
                acc = add_scaled(acc, dots(p, s, x, q_stride, xd, d_stride, xs), scaled)
                if HAS_OFFSET:
                    acc = add_product(acc, offset(p, s, scaled), xs, s_stride)
                xd += SUB // 16 * FLOATS
                xs += SUB // SUMMED * FLOATS
            p += SIZE
            xq += COLS // COLUMNS * UNITS
        return acc

    return sums


def by_units(packing: Any, T: int, layout: A.Layout) -> Any:
    """See `stretch`."""
    tile = TileOps(T)
    unit, scale, offset = scaling.of_unit(packing, tile, layout), codes.scale(packing), codes.offset(packing)
    zero, add_product, strides = tile.zero, tile.add_product, strides_of(packing, layout)
    COLS, SIZE, EACH, STEP = packing.cols, packing.size, 32 // packing.sub, 32 // A.COLUMNS * layout.units
    HAS_OFFSET, SUMMED, FLOATS = codes.has_offset(packing), shares(packing)[1], layout.floats

    @S.inner
    def sums(p: int, blocks: int, xq: int, xd: int, xs: int) -> Any:
        (q_stride, d_stride, s_stride), acc = strides(blocks * COLS), zero()
        for _ in range(blocks):
            for u in range(COLS // 32):
                acc = unit(acc, p, u, S.one_register(xq), q_stride, xd, d_stride, xs)
                if HAS_OFFSET:
                    for k in range(EACH):
                        s = u * EACH + k
                        acc = add_product(acc, offset(p, s, scale(p, s)), xs + k * FLOATS, s_stride)
                xq, xd, xs = xq + STEP, xd + 2 * FLOATS, xs + 32 // SUMMED * FLOATS
            p += SIZE
        return acc

    return sums


def strides_of(packing: Any, layout: A.Layout) -> Any:
    """An inner function of the columns: bytes from one token's activations, scales and sums to those of the next."""
    GROUPED, SUMMED, ROW, UNIT = layout.grouped, shares(packing)[1], A.ROW, A.UNIT

    @S.inner
    def strides(cols: int) -> tuple[int, int, int]:
        return (UNIT, 4, 4) if GROUPED else (cols * ROW, cols // 4, cols // SUMMED * 4)

    return strides


def by_vectors(packing: Any, writer: Callable[[TileOps], Writer]) -> Any:
    """Whole groups of tokens, first to last (multiples of 16), with one row block, as many in a tile as the registers hold."""
    COLS, SUMMED, ROW, UNIT, T = packing.cols, shares(packing)[1], A.ROW, A.UNIT, S.TILE
    sums, (ask, write) = stretch(packing, T, A.GROUPED), writer(TileOps(T))

    @S.inner
    def run(args: int, p: int, blocks: int, row: int, first: int, last: int) -> None:
        cols = blocks * COLS
        for t in range(first, last, T):
            group, member = t // 16 * 16, t % 16
            xq = S.word(args, XQ) + group * cols * ROW + UNIT * member
            xd = S.word(args, XD) + group * (cols // 4) + 4 * member
            xs = S.word(args, XS) + group * (cols // SUMMED * 4) + 4 * member
            ask(args, row, t)
            write(args, row, t, sums(p, blocks, xq, xd, xs))

    return run


def whole(packing: Any) -> bool:
    """Whether sub-blocks are scaled in whole numbers (`superblock.py`)."""
    return bool(A.SPLIT and packing.integral)


def shares(packing: Any) -> tuple[int, int]:
    """How many columns of activations share a scale, and a sum (or a word of them, or a start)."""
    return (superblock.SCALED, 2 * packing.sub) if whole(packing) else (16, packing.sub if codes.lean(packing) is None else 16)


def over_tokens(packing: Any, writer: Callable[[TileOps], Writer]) -> Any:
    """An inner function (args, p, blocks, row, first, last) that does tokens first:last with the row block at p, whose first row is `row`.

    Tokens from a multiple of GROUP on; those beyond the last whole group have their activations each by itself.
    """
    COLS, GROUP, ROW = packing.cols, A.GROUP, A.ROW
    SCALED, SUMMED = shares(packing)
    if whole(packing):
        groups = superblock_tiles.by_tiles(packing, (XQ, XD, XS), writer)
        sums4, sums2, sums1 = (superblock.stretch(packing, t) for t in (4, 2, 1))
    else:
        groups = amx.by_tiles(packing, (XQ, XD, XS), writer) if A.SPLIT else by_vectors(packing, writer)
        sums4, sums2, sums1 = (stretch(packing, t, A.PLAIN) for t in (4, 2, 1))
    write4, write2, write1 = (writer(TileOps(t)).write for t in (4, 2, 1))

    @S.inner
    def run(args: int, p: int, blocks: int, row: int, first: int, last: int) -> None:
        whole = last // GROUP * GROUP
        if first < whole:
            groups(args, p, blocks, row, first, whole)
        cols, t = blocks * COLS, max(first, whole)
        q, d, s = cols * ROW, cols // SCALED * 4, cols // SUMMED * 4
        xq, xd, xs = S.word(args, XQ), S.word(args, XD), S.word(args, XS)
        while t + 4 <= last:
            write4(args, row, t, sums4(p, blocks, xq + t * q, xd + t * d, xs + t * s))
            t += 4
        if t + 2 <= last:
            write2(args, row, t, sums2(p, blocks, xq + t * q, xd + t * d, xs + t * s))
            t += 2
        if t < last:
            write1(args, row, t, sums1(p, blocks, xq + t * q, xd + t * d, xs + t * s))

    return run


@S.inner
def share(args: int, chunk: int) -> tuple[int, int]:
    """The row blocks of a chunk, of which there are more where there are many tokens: a thread that loses its core then leaves less undone."""
    tokens, row_blocks = S.peek(S.word(args, TOKENS)), S.word(args, ROW_BLOCKS)
    chunks = S.word(args, CHUNKS) * min((tokens + SHARED - 1) // SHARED, TURNS)
    per = (row_blocks + chunks - 1) // chunks
    return chunk * per, min(chunk * per + per, row_blocks)


@S.inner
def near(row_bytes: int, room: int) -> int:
    """How many tokens, whose activations take so many bytes each, are done with one row block after another."""
    return max(A.GROUP, min(amx.MOST, room // row_bytes // A.GROUP * A.GROUP))


def room(packing: Any) -> int:
    """Bytes for `near`."""
    return superblock.NEAR_BYTES if whole(packing) else NEAR_BYTES


def build(name: str) -> Callable[[int, int], None]:
    """The kernel of one format. A chunk does its `share` of the row blocks for all tokens.

    Where the activations of all tokens are more than a core's own cache holds, it walks through its weights for some after others.
    """
    packing = by_name(name).packing
    COLS, SIZE, GROUP, ROW, ROOM = packing.cols, packing.size, A.GROUP, A.ROW, room(packing)
    run = over_tokens(packing, writer)

    def product(args: int, chunk: int) -> None:
        w, blocks, tokens = S.word(args, W), S.word(args, BLOCKS), S.peek(S.word(args, TOKENS))
        begin, end = share(args, chunk)
        most = near(blocks * COLS * ROW, ROOM)
        spans = (tokens + most - 1) // most
        span = ((tokens + spans - 1) // spans + GROUP - 1) // GROUP * GROUP
        record = S.word(args, RAW)
        room = panel.enter(record)
        for first in range(0, tokens, span):
            for block in range(begin, end):
                p = panel.at(record, room, block, w + block * blocks * SIZE)
                run(args, p, blocks, 16 * block, first, min(first + span, tokens))
        panel.leave(room)

    return product
