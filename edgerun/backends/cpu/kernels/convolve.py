"""Short convolutions: each column with its own taps over its last inputs, which are the state, [taps - 1][columns].

Words of the argument block after the common ones (`recurrence.py`): x, stride, out, stride, taps [taps][columns], bias or 0,
number of taps, columns. Columns of taps and state are filled up to a multiple of 16.
"""

from __future__ import annotations

from collections.abc import Callable

from edgerun.backends.cpu.kernels import recurrence as R
from edgerun.backends.cpu.kernels import simd as S

X, X_STRIDE, OUT, OUT_STRIDE, WEIGHT, BIAS, TAPS, COLUMNS = range(R.OWN, R.OWN + 8)


def build() -> Callable[[int, int], None]:
    """The kernel: chunk c is PER blocks of 16 columns."""
    edge = S.scratch(64)

    @S.inner
    def columns(args: int, block: int, room: int) -> None:
        taps, n = S.word(args, TAPS), min(16, S.word(args, COLUMNS) - 16 * block)
        line, weight = (S.word(args, COLUMNS) + 15) // 16 * 64, S.word(args, WEIGHT) + 64 * block
        bias = S.load_f32(S.word(args, BIAS) + 64 * block) if S.word(args, BIAS) else S.zero()
        for row in range(R.rows(args)):
            at = R.state(args, row, 64 * block, taps - 1, line)
            x = R.load(S.word(args, X) + row * S.word(args, X_STRIDE) + 64 * block, n, room)
            total = bias
            for j in range(taps - 1):
                total = S.fma(S.load_f32(at + line * j), S.load_f32(weight + line * j), total)
                S.store_f32(at + line * j, S.load_f32(at + line * (j + 1)) if j < taps - 2 else x)
            total = S.fma(x, S.load_f32(weight + line * (taps - 1)), total)
            R.store(S.word(args, OUT) + row * S.word(args, OUT_STRIDE) + 64 * block, n, total, room)

    def convolve(args: int, chunk: int) -> None:
        room, first = edge(), chunk * S.word(args, R.PER)
        for block in range(first, min(first + S.word(args, R.PER), S.word(args, R.BLOCKS))):
            columns(args, block, room)

    return convolve
