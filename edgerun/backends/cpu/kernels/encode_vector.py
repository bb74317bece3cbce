"""The nearest vectors of a codebook, as `Points.nearest` of `formats/matching.py` finds them: sixteen runs of weights at a time.

    args     X, W: float32 [runs][width], runs a multiple of 16 | SCALE: float32 [runs] | WIDTH: 4 or 8 | DIGITS: how many, and float32
             [DIGITS], what they stand for | VECTORS: how many, and int32 [VECTORS][2], where in the tables below their halves are
    out      INDEX: float32 [runs] | GAIN: float32 [runs], what the vector takes off the error

What a vector takes off the error is a sum over its weights. All sums of a half are made once for all vectors, in a table of
DIGITS ^ (width / 2) entries, so a vector costs one addition.
"""

from __future__ import annotations

from collections.abc import Callable

from edgerun.backends.cpu.kernels import encode_lanes as E
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.repack import stage

X, W, SCALE, WIDTH, DIGITS, LEVELS, VECTORS, HALVES, INDEX, GAIN = range(10)
MOST = 81   # entries of a table
_x, _w, _low, _high = S.scratch(64 * 8), S.scratch(64 * 8), S.scratch(64 * MOST), S.scratch(64 * MOST)


@S.inner
def half_sums(args: int, x: int, w: int, scale: int, width: int, room: int) -> None:
    """The table of `width` weights, the first digit counting least."""
    digits, levels = S.word(args, DIGITS), S.word(args, LEVELS)
    v = S.load_f32(scale)
    once, twice = S.add(v, v), S.negate(S.mul(v, v))
    S.store_f32(room, S.zero())
    size = 1
    for k in range(width):
        u = S.load_f32(w + 64 * k)
        a, b = S.mul(S.mul(u, S.load_f32(x + 64 * k)), once), S.mul(u, twice)
        for i in range(digits):
            digit = digits - 1 - i   # the lowest last, as it takes the place of what all are made of
            level = S.splat(S.peek_f32(levels + 4 * digit))
            gain = S.add(S.mul(a, level), S.mul(b, S.mul(level, level)))
            for c in range(0, 64 * size, 64):
                S.store_f32(room + 64 * size * digit + c, S.add(S.load_f32(room + c), gain))
        size *= digits


def encode_vector(args: int, count: int) -> None:
    """The vectors of `count` runs."""
    x, w, low, high, width = _x(), _w(), _low(), _high(), S.word(args, WIDTH)
    vectors, halves, one = S.word(args, VECTORS), S.word(args, HALVES), S.splat(S.f32(1.0))
    for first in range(0, count, 16):
        for k in range(0, width, 4):
            stage(S.word(args, X) + 4 * (width * first + k), 4 * width, x + 64 * k)
            stage(S.word(args, W) + 4 * (width * first + k), 4 * width, w + 64 * k)
        middle = S.quotient(width, 2)
        half_sums(args, x, w, S.word(args, SCALE) + 4 * first, middle, low)
        half_sums(args, x + 64 * middle, w + 64 * middle, S.word(args, SCALE) + 4 * first, middle, high)
        best = S.add(S.load_f32(low + S.peek_i32(halves)), S.load_f32(high + S.peek_i32(halves + 4)))
        place = number = S.zero()
        for at in range(halves + 8, halves + 8 * vectors, 8):
            number = S.add(number, one)
            gain = S.add(S.load_f32(low + S.peek_i32(at)), S.load_f32(high + S.peek_i32(at + 4)))
            place, best = E.below(best, gain, number, place), E.below(best, gain, gain, best)
        S.store_f32(S.word(args, INDEX) + 4 * first, place)
        S.store_f32(S.word(args, GAIN) + 4 * first, best)


def build() -> Callable:
    """The one kernel of this file."""
    return encode_vector
