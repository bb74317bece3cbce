"""Choosing experts, row by row: scores, ranks, the best, their weights (`graph/ops.py`, `Route`).

The argument block, in 8-byte words: logits, stride, choice, stride, experts, used, whether to normalise, what is added to the sum then,
bias or 0, groups, groups used, best of a group, factors or 0, scale.
"""

from __future__ import annotations

from collections.abc import Callable

from edgerun.backends.cpu.kernels import functions as M
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.control import MOST_EXPERTS

LOWEST = -3e38


@S.inner
def best(values: int, taken: int, first: int, last: int) -> int:
    """The number of the largest value that is not taken, the first of equals; it exists whatever the values are."""
    found, top = first, S.f32(0.0)
    none = True
    for i in range(first, last):
        if S.peek_i32(taken + 4 * i) == 0:
            v = S.peek_f32(values + 4 * i)
            if none or v > top:
                found, top, none = i, v, False
    return found


@S.inner
def leave_groups(ranked: int, taken: int, worth: int, out: int, experts: int, groups: int, used: int, count: int) -> None:
    """Mark as taken the experts of all but the best groups; `out` is room for a mark for each group."""
    each = S.quotient(experts, groups)
    for g in range(groups):
        total = S.f32(0.0)
        for _ in range(count):
            e = best(ranked, taken, g * each, g * each + each)
            S.poke_i32(taken + 4 * e, 1)
            total += S.peek_f32(ranked + 4 * e)
        S.poke_f32(worth + 4 * g, total)
        S.poke_i32(out + 4 * g, 0)
    for e in range(experts):
        S.poke_i32(taken + 4 * e, 1)
    for _ in range(used):
        g = best(worth, out, 0, groups)
        S.poke_i32(out + 4 * g, 1)
        for e in range(g * each, g * each + each):
            S.poke_i32(taken + 4 * e, 0)


def build(gating: str) -> Callable[[int, int], None]:
    """The kernel for scores that are a `softmax` or a `sigmoid`."""
    SOFTMAX = gating == "softmax"
    numbers = [S.scratch(4 * MOST_EXPERTS + 64) for _ in range(5)]
    score_room, rank_room, taken_room, worth_room, out_room = numbers

    @S.inner
    def score(logits: int, n: int, scores: int) -> None:
        """Scores of n experts, behind which there is room for 16 more."""
        top = S.splat(LOWEST)
        for i in range(n):
            S.poke_f32(scores + 4 * i, S.peek_f32(logits + 4 * i))
        S.store_f32(scores + 4 * n, S.splat(LOWEST))
        one, total = S.splat(1.0), S.zero()
        if SOFTMAX:
            for i in range(0, n, 16):
                top = S.maximum(top, S.load_f32(scores + 4 * i))
            shift = S.splat(S.max_lanes(top))
            for i in range(0, n, 16):
                v = M.exp(S.sub(S.load_f32(scores + 4 * i), shift))
                S.store_f32(scores + 4 * i, v)
                total = S.add(total, v)
            sum = S.splat(S.sum_lanes(total))
            for i in range(0, n, 16):
                S.store_f32(scores + 4 * i, S.div(S.load_f32(scores + 4 * i), sum))
        else:
            for i in range(0, n, 16):
                S.store_f32(scores + 4 * i, S.div(one, S.add(one, M.exp(S.negate(S.load_f32(scores + 4 * i))))))

    def route(args: int, row: int) -> None:
        logits, choice = S.word(args, 0) + row * S.word(args, 1), S.word(args, 2) + row * S.word(args, 3)
        n, used, bias, factors = S.word(args, 4), S.word(args, 5), S.word(args, 8), S.word(args, 12)
        scores, ranked, taken, total = score_room(), rank_room(), taken_room(), S.f32(0.0)
        score(logits, n, scores)
        for e in range(n):
            v = S.peek_f32(scores + 4 * e)
            S.poke_f32(ranked + 4 * e, v + S.peek_f32(bias + 4 * e) if bias else v)
            S.poke_i32(taken + 4 * e, 0)
        if S.word(args, 9) > 1:
            leave_groups(ranked, taken, worth_room(), out_room(), n, S.word(args, 9), S.word(args, 10), S.word(args, 11))
        for j in range(used):
            e = best(ranked, taken, 0, n)
            S.poke_i32(taken + 4 * e, 1)
            S.poke_f32(choice + 4 * j, S.f32(e))
            S.poke_f32(choice + 4 * (used + j), S.peek_f32(scores + 4 * e))
            total += S.peek_f32(scores + 4 * e)
        for j in range(used):
            at = choice + 4 * (used + j)
            v = S.peek_f32(at)
            if S.word(args, 6):
                v /= total + S.number(args, 7)
            if factors:
                v *= S.peek_f32(factors + 4 * int(S.peek_f32(choice + 4 * j)))
            S.poke_f32(at, v * S.number(args, 13))

    return route
