"""Selective scans: the state of 16 columns of a head is [n][16], and a lane is a column.

Words of the argument block after the common ones (`recurrence.py`): x, dt, b, c and out, each with its stride; a, d; columns of a
head, n, heads that share b and c. By head, dt, a and d are one number per head; by column, there is one head and they have a
lane for each column, a being [n][columns], filled up to a multiple of 16.
"""

from __future__ import annotations

from collections.abc import Callable

from edgerun.backends.cpu.kernels import functions as M
from edgerun.backends.cpu.kernels import recurrence as R
from edgerun.backends.cpu.kernels import simd as S

X, X_STRIDE, DT, DT_STRIDE, B, B_STRIDE, C, C_STRIDE, OUT, OUT_STRIDE, A, D, WIDTH, N, SHARE = range(R.OWN, R.OWN + 15)


def build(each: str) -> Callable[[int, int], None]:
    """The kernel with steps by `head` or by `column`: chunk c is PER blocks of 16 columns of a head."""
    COLUMN = each == "column"
    edge = S.scratch(64)

    @S.inner
    def columns(args: int, block: int, room: int) -> None:
        width, n = S.word(args, WIDTH), S.word(args, N)
        blocks = (width + 15) // 16   # of a head
        head = S.quotient(block, blocks)
        within = 16 * (block - head * blocks)
        lanes, first, group = min(16, width - within), head * width + within, S.quotient(head, S.word(args, SHARE))
        a, line = S.word(args, A) + 4 * within, 64 * blocks
        d = S.load_f32(S.word(args, D) + 4 * within) if COLUMN else S.splat(S.peek_f32(S.word(args, D) + 4 * head))
        for row in range(R.rows(args)):
            at = R.state(args, row, 64 * n * block, n, 64)
            x = R.load(S.word(args, X) + row * S.word(args, X_STRIDE) + 4 * first, lanes, room)
            step = S.word(args, DT) + row * S.word(args, DT_STRIDE)
            b, c = S.word(args, B) + row * S.word(args, B_STRIDE) + 4 * n * group, S.word(args, C) + row * S.word(args, C_STRIDE) + 4 * n * group
            decay = S.zero()
            if COLUMN:
                dt = R.load(step + 4 * first, lanes, room)
            else:
                dt = S.splat(S.peek_f32(step + 4 * head))
                decay = M.exp(S.mul(dt, S.splat(S.peek_f32(S.word(args, A) + 4 * head))))
            fed, y = S.mul(dt, x), S.mul(d, x)
            for i in range(n):
                if COLUMN:
                    decay = M.exp(S.mul(dt, S.load_f32(a + line * i)))
                h = S.fma(S.load_f32(at + 64 * i), decay, S.mul(fed, S.splat(S.peek_f32(b + 4 * i))))
                S.store_f32(at + 64 * i, h)
                y = S.fma(h, S.splat(S.peek_f32(c + 4 * i)), y)
            R.store(S.word(args, OUT) + row * S.word(args, OUT_STRIDE) + 4 * first, lanes, y, room)

    def scan(args: int, chunk: int) -> None:
        room, first = edge(), chunk * S.word(args, R.PER)
        for block in range(first, min(first + S.word(args, R.PER), S.word(args, R.BLOCKS))):
            columns(args, block, room)

    return scan
