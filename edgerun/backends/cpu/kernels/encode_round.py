"""Blocks that are rounded without a search, as `formats/search.py` and `formats/q8_0.py` do: sixteen at a time and bit for bit.

    args     those of `encode_lanes.py`, of which the weights are not read | KIND | TOP, float32
    heads    float32 [16 blocks][d | low][16]

KIND 0: the largest weight becomes code 0 of 2 * TOP, which stands for -TOP. 1: codes 0 to TOP, from the smallest weight to the
largest. 2: codes -TOP to TOP, halves away from zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgerun.backends.cpu.kernels import encode_lanes as E
from edgerun.backends.cpu.kernels import simd as S

KIND, TOP = E.OWN, E.OWN + 1
_x = S.scratch(64 * E.LARGEST)


@S.inner
def line(x: int, size: int, kind: int, top: Any) -> Any:
    """Scale and low."""
    zero = S.zero()
    low = high = S.load_f32(x)
    longest = zero
    for j in range(x, x + 64 * size, 64):
        v = S.load_f32(j)
        low, high = E.below(v, low, v, low), E.below(high, v, v, high)
        longest = E.below(S.absolute(longest), S.absolute(v), v, longest)
    if kind == 0:
        return S.div(longest, S.negate(top)), zero
    if kind == 1:
        return S.div(S.sub(high, low), top), low
    return S.div(S.absolute(longest), top), zero


@S.inner
def blocks(args: int, first: int, count: int, heads: int) -> None:
    """Sixteen of them."""
    x, size, kind, top, one = _x(), S.word(args, E.SIZE), S.word(args, KIND), S.splat(S.number(args, TOP)), S.splat(S.f32(1.0))
    E.load(args, first, count, x)
    d, low = line(x, size, kind, top)
    S.store_f32(heads, d)
    S.store_f32(heads + 64, low)
    unit, zero, half = E.inverse(d), S.zero(), S.splat(S.f32(0.5))
    if kind == 2:
        for j in range(x, x + 64 * size, 64):
            y = S.mul(S.load_f32(j), unit)
            long = S.absolute(y)
            whole = E.truncated(long)
            whole = E.below(S.sub(long, whole), half, whole, S.add(whole, one))
            S.store_f32(j, E.below(y, zero, S.negate(whole), whole))
    else:
        more, most = half, top
        if kind == 0:
            more, most = S.add(top, half), S.sub(S.add(top, top), one)
        for j in range(x, x + 64 * size, 64):
            q = E.truncated(S.add(S.mul(S.sub(S.load_f32(j), low), unit), more))
            S.store_f32(j, E.below(most, q, most, q))
    E.store(args, first, count, x)


def build() -> Callable:
    """The one kernel of this file."""
    return E.kernel(blocks, 2, 0)
