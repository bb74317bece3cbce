"""The gated delta rule: 16 columns of a head's matrix are [key width][16] of state, and a lane is a column.

Words of the argument block after the common ones (`recurrence.py`): q, k, v, beta, dt and out, each with its stride; a; widths of a
key and of a value; and how a head finds its key head, head // EACH % KEY_HEADS.
"""

from __future__ import annotations

from collections.abc import Callable

from edgerun.backends.cpu.kernels import functions as M
from edgerun.backends.cpu.kernels import recurrence as R
from edgerun.backends.cpu.kernels import simd as S

(Q, Q_STRIDE, K, K_STRIDE, V, V_STRIDE, BETA, BETA_STRIDE, DT, DT_STRIDE, OUT, OUT_STRIDE,
 A, KEY, VALUE, EACH, KEY_HEADS) = range(R.OWN, R.OWN + 17)   # fmt: skip


def build() -> Callable[[int, int], None]:
    """The kernel: chunk c is PER blocks of 16 columns of a head."""
    edge = S.scratch(64)

    @S.inner
    def columns(args: int, block: int, room: int) -> None:
        key, value = S.word(args, KEY), S.word(args, VALUE)
        blocks = (value + 15) // 16   # of a head
        head = S.quotient(block, blocks)
        within = 16 * (block - head * blocks)
        lanes, first = min(16, value - within), 4 * (head * value + within)
        source = 4 * key * (S.quotient(head, S.word(args, EACH)) % S.word(args, KEY_HEADS))
        a = S.splat(S.peek_f32(S.word(args, A) + 4 * head))
        for row in range(R.rows(args)):
            at = R.state(args, row, 64 * key * block, key, 64)
            q, k = S.word(args, Q) + row * S.word(args, Q_STRIDE) + source, S.word(args, K) + row * S.word(args, K_STRIDE) + source
            v = R.load(S.word(args, V) + row * S.word(args, V_STRIDE) + first, lanes, room)
            beta = S.splat(S.peek_f32(S.word(args, BETA) + row * S.word(args, BETA_STRIDE) + 4 * head))
            decay = M.exp(S.mul(a, S.splat(S.peek_f32(S.word(args, DT) + row * S.word(args, DT_STRIDE) + 4 * head))))
            told = S.zero()
            for i in range(key):
                told = S.fma(S.load_f32(at + 64 * i), S.splat(S.peek_f32(k + 4 * i)), told)
            more, y = S.mul(beta, S.sub(v, S.mul(decay, told))), S.zero()
            for i in range(key):
                s = S.fma(S.load_f32(at + 64 * i), decay, S.mul(more, S.splat(S.peek_f32(k + 4 * i))))
                S.store_f32(at + 64 * i, s)
                y = S.fma(s, S.splat(S.peek_f32(q + 4 * i)), y)
            R.store(S.word(args, OUT) + row * S.word(args, OUT_STRIDE) + first, lanes, y, room)

    def delta(args: int, chunk: int) -> None:
        room, first = edge(), chunk * S.word(args, R.PER)
        for block in range(first, min(first + S.word(args, R.PER), S.word(args, R.BLOCKS))):
            columns(args, block, room)

    return delta
