"""y = W[expert] x for stacks of packed matrices: each expert's rows, which lie together, times its matrix. No weight of an expert
without rows is read. The arithmetic is that of `product.py` and `product_float.py`, bit for bit.

The argument block begins as that of `product`, with XQ, XD, XS of all slots in the order of `grouping.py`, CHUNKS the parts that a
matrix is cut into, and no residual; Y, Y_STRIDE and SLOT say where the slots of the rows are. Chunk c does part c % CHUNKS of the
matrix of entry c // CHUNKS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgerun.backends.cpu.kernels import activations as A
from edgerun.backends.cpu.kernels import panel, product_float
from edgerun.backends.cpu.kernels import product as P
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.control import ENTRY, RECORD
from edgerun.backends.cpu.kernels.tile import TileOps
from edgerun.formats import by_name

# Further words: bytes from slot to slot of a row, of a matrix and of a bias of the stack, the table, its slots.
SLOT, MATRIX, BIAS_BYTES, TABLE, PAIRS, WORDS = range(P.RAW + 1, P.RAW + 7)


def scatterer(tile: TileOps) -> P.Writer:
    """As `product.writer`, each token's where its slot is."""
    T, store, add_vector = tile.count, tile.store, tile.add_vector
    room = S.scratch(64 * T)

    @S.inner
    def place(args: int, row: int, t: int) -> int:
        pair = S.word(args, PAIRS) + ENTRY * t
        return S.word(args, P.Y) + S.peek_i32(pair) * S.word(args, P.Y_STRIDE) + S.peek_i32(pair + 4) * S.word(args, SLOT) + 4 * row

    @S.inner
    def ask(args: int, row: int, t: int) -> None:
        for k in range(T):
            S.prefetch_own(place(args, row, t + k))

    @S.inner
    def write(args: int, row: int, t: int, acc: Any) -> None:
        if S.word(args, P.BIAS):
            acc = add_vector(acc, S.load_f32(S.word(args, P.BIAS) + 4 * row))
        sums, left = room(), S.word(args, P.ROWS) - row
        store(sums, 64, acc)
        for k in range(T):
            y = place(args, row, t + k)
            if left >= 16:
                S.store_f32(y, S.load_f32(sums + 64 * k))
            else:
                for i in range(left):
                    S.poke_f32(y + 4 * i, S.peek_f32(sums + 64 * k + 4 * i))

    return P.Writer(ask, write)


def build(kind: str) -> Callable[[int, int], None]:
    """The kernel of a format, by its name, or of a float kind (f32, f16, bf16)."""
    if kind in product_float.SIZES:
        run, COLS, SIZE, BYTES = product_float.over_tokens(kind, scatterer), 1, product_float.SIZES[kind], 4
        FLOATS, SUMS, ROOM = 0, 0, P.NEAR_BYTES
    else:
        packing = by_name(kind).packing
        run, COLS, SIZE, BYTES = P.over_tokens(packing, scatterer), packing.cols, packing.size, A.ROW
        scaled, summed = P.shares(packing)
        ROOM = P.room(packing)
        FLOATS, SUMS = 4 * packing.cols // scaled, 4 * packing.cols // summed   # bytes of scales and sums of a token and block
    own_words, near = S.scratch(8 * WORDS), P.near

    def experts(args: int, chunk: int) -> None:
        parts, table = S.word(args, P.CHUNKS), S.word(args, TABLE)
        number = S.quotient(chunk, parts)
        if number >= S.peek(table):
            return
        entry = table + ENTRY * (1 + number)
        expert, first, tokens = S.peek_i32(entry), S.peek_i32(entry + 4), S.peek_i32(entry + 8)
        blocks, row_blocks, own = S.word(args, P.BLOCKS), S.word(args, P.ROW_BLOCKS), own_words()
        S.poke(own + 8 * P.XQ, S.word(args, P.XQ) + first * blocks * COLS * BYTES)
        S.poke(own + 8 * P.XD, S.word(args, P.XD) + first * blocks * FLOATS)
        S.poke(own + 8 * P.XS, S.word(args, P.XS) + first * blocks * SUMS)
        S.poke(own + 8 * P.Y, S.word(args, P.Y))
        S.poke(own + 8 * P.Y_STRIDE, S.word(args, P.Y_STRIDE))
        S.poke(own + 8 * P.ROWS, S.word(args, P.ROWS))
        bias = S.word(args, P.BIAS)
        S.poke(own + 8 * P.BIAS, bias + expert * S.word(args, BIAS_BYTES) if bias else 0)
        S.poke(own + 8 * SLOT, S.word(args, SLOT))
        S.poke(own + 8 * PAIRS, S.word(args, PAIRS) + ENTRY * first)
        w, most = S.word(args, P.W) + expert * S.word(args, MATRIX), near(blocks * COLS * BYTES, ROOM)
        per = (row_blocks + parts - 1) // parts
        begin = (chunk - number * parts) * per
        record = S.word(args, P.RAW)
        if record:
            record += RECORD * expert
        room = panel.enter(record)
        for start in range(0, tokens, most):
            for block in range(begin, min(begin + per, row_blocks)):
                p = panel.at(record, room, block, w + block * blocks * SIZE)
                run(own, p, blocks, 16 * block, start, min(start + most, tokens))
        panel.leave(room)

    return experts
