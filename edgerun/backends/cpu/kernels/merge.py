"""Results of attention over spans of positions become one: a row op that chains behind attention. Knows no keys.

A result of a query is what the softmax of its scores gives before it is divided: [value] floats, filled up to the room of a
head; then the highest score and the sum of the weights 2^(score - highest). Spans merge in the order of their positions, in
whichever of the two places it is done (here, or in `attention.py` where one thread has them all), with the same bits.

The argument block, in 8-byte words: slots, bytes of a slot, out, stride, heads, value width, room, window (`earliest`), sinks or 0,
frame.
"""

from __future__ import annotations

from collections.abc import Callable

from edgerun.backends.cpu.kernels import frame as F
from edgerun.backends.cpu.kernels import functions as M
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.kinds import KINDS
from edgerun.backends.cpu.kernels.rotation import rotate

LOG2E = 1.4426950408889634


@S.inner
def earliest(position: int, window: int) -> int:
    """The first position that is seen from `position`: within the last `window`, or within the same chunk of -window."""
    return position - position % -window if window < 0 else max(0, position - window + 1)


@S.inner
def copy(target: int, source: int, room: int) -> None:
    """target = source, two results."""
    for d in range(0, room, 16):
        S.store_f32(target + 4 * d, S.load_f32(source + 4 * d))
    S.poke(target + 4 * room, S.peek(source + 4 * room))


@S.inner
def add(target: int, source: int, room: int) -> None:
    """target = target and source together, two results."""
    end, more = target + 4 * room, source + 4 * room
    m, n = S.peek_f32(end), S.peek_f32(more)
    highest = max(m, n)
    a, c = M.exp2(S.splat(m - highest)), M.exp2(S.splat(n - highest))
    for d in range(0, room, 16):
        S.store_f32(target + 4 * d, S.fma(S.load_f32(target + 4 * d), a, S.mul(S.load_f32(source + 4 * d), c)))
    total = S.fma(S.splat(S.peek_f32(end + 4)), a, S.mul(S.splat(S.peek_f32(more + 4)), c))
    S.poke_f32(end, highest)
    S.poke_f32(end + 4, S.first_lane(total))


def build(values: str) -> Callable[[int, int], None]:
    """The kernel for values of a kind."""
    ROTATED, whole = KINDS[values].rotated, S.scratch(4 * (F.MAX_HEAD + 48))

    @S.inner
    def finish(result: int, out: int, width: int, room: int, sink: int) -> None:
        top, total, factor = S.peek_f32(result + 4 * room), S.peek_f32(result + 4 * room + 4), S.f32(1.0)
        if sink:
            own = S.peek_f32(sink) * S.f32(LOG2E)
            highest = max(own, top)
            factor = S.first_lane(M.exp2(S.splat(top - highest)))
            total = total * factor + S.first_lane(M.exp2(S.splat(own - highest)))
        scale = S.splat(factor / total)
        for d in range(0, room, 16):
            S.store_f32(result + 4 * d, S.mul(S.load_f32(result + 4 * d), scale))
        if ROTATED:
            rotate(result, width)
        for d in range(0, width - width % 16, 16):
            S.store_f32(out + 4 * d, S.load_f32(result + 4 * d))
        for d in range(width - width % 16, width):
            S.poke_f32(out + 4 * d, S.peek_f32(result + 4 * d))

    def kernel(args: int, row: int) -> None:
        frame, width, room, result = S.word(args, 9), S.word(args, 5), S.word(args, 6), whole()
        position = S.peek_i32(S.word(frame, F.SEEN) + 4 * row)
        slot = S.word(args, 0) + S.peek_i32(S.word(frame, F.SLOTS) + 8 * row) * S.word(args, 1)
        first = last = 0
        if S.peek_i32(S.word(frame, F.SLOTS) + 8 * row + 4):
            first = earliest(position, S.word(args, 7)) // F.SPAN
            last = position // F.SPAN
        for head in range(S.word(args, 4)):
            own = slot + head * (4 * room + 64)
            copy(result, own + first * S.word(args, 1), room)
            for span in range(first + 1, last + 1):
                add(result, own + span * S.word(args, 1), room)
            out = S.word(args, 2) + row * S.word(args, 3) + 4 * width * head
            finish(result, out, width, room, S.word(args, 8) + 4 * head if S.word(args, 8) else 0)

    return kernel
