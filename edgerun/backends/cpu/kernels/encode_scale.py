"""Blocks of signed values, scale * value: `signed` of `formats/superblock.py` and `valued_blocks` of `formats/search.py`, sixteen blocks
at a time and bit for bit.

    args     those of `encode_lanes.py` | FIRST, LAST: smallest and largest value, float32 | LEVELS: scales are whole numbers from -LEVELS
             to LEVELS - 1, float32; 0: a block has one scale, which is fitted to the values in the end | STEPS: how many, and float32
             [STEPS], what the largest number is made in search of the best scale | BORDERS: how many, 0 where values are all whole
             numbers between, and float32 [BORDERS][2], in units of half a value from the first on: from where on the value is the next
             one, and how much larger that is
    heads    float32 [16 blocks][d | scale of each sub-block][16]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgerun.backends.cpu.kernels import encode_lanes as E
from edgerun.backends.cpu.kernels import simd as S

FIRST, LAST, LEVELS, STEPS, STRETCH, BORDERS, TABLE = range(E.OWN, E.OWN + 7)
_x, _w = S.scratch(64 * E.LARGEST), S.scratch(64 * E.LARGEST)
_wx = S.scratch(64 * 64)



@S.inner
def nearest(y: Any, args: int) -> Any:
    """The nearest values."""
    first, borders, table = S.splat(S.number(args, FIRST)), S.word(args, BORDERS), S.word(args, TABLE)
    y = E.bounded(y, first, S.splat(S.number(args, LAST)))
    if not borders:
        return E.whole(y)
    y = S.sub(y, first)
    y, value = S.add(y, y), first
    for i in range(borders):
        larger = S.add(value, S.splat(S.peek_f32(table + 8 * i + 4)))
        value = E.below(y, S.splat(S.peek_f32(table + 8 * i)), value, larger)
    return value


@S.inner
def code(y: Any, args: int) -> Any:
    """The codes of the nearest values."""
    first, borders, table = S.splat(S.number(args, FIRST)), S.word(args, BORDERS), S.word(args, TABLE)
    y = E.bounded(y, first, S.splat(S.number(args, LAST)))
    if not borders:
        return S.sub(E.whole(y), first)
    y = S.sub(y, first)
    y, place = S.add(y, y), S.zero()
    for i in range(borders):
        place = E.below(y, S.splat(S.peek_f32(table + 8 * i)), place, S.splat(S.f32(i + 1)))
    return place


@S.inner
def consider(x: int, w: int, wx: int, sub: int, factor: Any, args: int) -> Any:
    """The best scale for the values nearest to x * factor, and what it takes off the error."""
    product = square = S.zero()
    for j in range(0, 64 * sub, 64):
        q = nearest(S.mul(S.load_f32(x + j), factor), args)
        product = S.add(product, S.mul(S.load_f32(wx + j), q))
        square = S.add(square, S.mul(S.load_f32(w + j), S.mul(q, q)))
    scale = S.mul(product, E.inverse(square))
    return scale, S.mul(scale, product)


@S.inner
def fit(x: int, w: int, sub: int, args: int) -> Any:
    """The scale of a sub-block by itself: `fit_scale`."""
    wx, largest = _wx(), S.zero()
    for j in range(0, 64 * sub, 64):
        v = S.load_f32(x + j)
        S.store_f32(wx + j, S.mul(S.load_f32(w + j), v))
        largest = E.below(S.absolute(largest), S.absolute(v), v, largest)
    unit = E.inverse(largest)
    scale = gain = S.zero()
    alone = S.number(args, LEVELS) == S.f32(0.0)
    steps = S.word(args, STEPS)
    for step in range(steps + alone):
        factor = S.mul(unit, S.splat(S.peek_f32(S.word(args, STRETCH) + 4 * min(step, steps - 1))))
        if step == steps:
            factor = E.inverse(scale)
        new, better = consider(x, w, wx, sub, factor, args)
        scale, gain = E.below(gain, better, new, scale), E.below(gain, better, better, gain)
    return scale


@S.inner
def measure(x: int, w: int, sub: int, scale: Any, args: int) -> Any:
    """The sums of wqq and wqx for a scale, multiplied out."""
    unit = E.inverse(scale)
    wqq = wqx = S.zero()
    for j in range(0, 64 * sub, 64):
        v = S.load_f32(x + j)
        q = nearest(S.mul(v, unit), args)
        each = S.mul(S.load_f32(w + j), q)
        wqq, wqx = S.add(wqq, S.mul(each, q)), S.add(wqx, S.mul(each, v))
    return wqq, wqx


@S.inner
def lost(scale: Any, wqq: Any, wqx: Any) -> Any:
    """The error, less that of zeros: `_Sums.error`."""
    return S.mul(scale, S.sub(S.mul(scale, wqq), S.mul(S.splat(S.f32(2.0)), wqx)))


@S.inner
def settle(x: int, w: int, sub: int, start: Any, d: Any, args: int) -> Any:
    """The best neighbour of a scale, its sums and its error."""
    levels, one = S.splat(S.number(args, LEVELS)), S.splat(S.f32(1.0))
    s, at, side = start, start, one
    wqq = wqx = error = S.zero()
    for way in range(3):
        scale = S.mul(at, d)
        here, meets = measure(x, w, sub, scale, args)
        new = lost(scale, here, meets)
        if way == 0:
            wqq, wqx, error = here, meets, new
        else:
            s, wqq, wqx = E.below(new, error, at, s), E.below(new, error, here, wqq), E.below(new, error, meets, wqx)
            error = E.below(new, error, new, error)
        at, side = E.bounded(S.add(start, side), S.negate(levels), S.sub(levels, one)), S.negate(side)
    return s, wqq, wqx, error


@S.inner
def superblocks(x: int, w: int, sub: int, subs: int, wanted: int, args: int) -> Any:
    """D, once the scales of the sub-blocks, which are left at `wanted`, are whole numbers."""
    levels, one, largest = S.splat(S.number(args, LEVELS)), S.splat(S.f32(1.0)), S.zero()
    for i in range(subs):
        scale = S.load_f32(wanted + 64 * i)
        largest = E.below(S.absolute(largest), S.absolute(scale), scale, largest)
    d = E.half(S.div(largest, S.negate(levels)))
    unit = E.inverse(d)
    a = p = error = S.zero()
    for i in range(subs):
        start = E.whole(E.bounded(S.mul(S.load_f32(wanted + 64 * i), unit), S.negate(levels), S.sub(levels, one)))
        s, wqq, wqx, left = settle(x + 64 * sub * i, w + 64 * sub * i, sub, start, d, args)
        S.store_f32(wanted + 64 * i, s)
        a, p, error = S.add(a, S.mul(S.mul(wqq, s), s)), S.add(p, S.mul(wqx, s)), S.add(error, left)
    new, fitted = E.half(S.mul(p, E.inverse(a))), S.zero()
    for i in range(subs):
        scale = S.mul(S.load_f32(wanted + 64 * i), new)
        wqq, wqx = measure(x + 64 * sub * i, w + 64 * sub * i, sub, scale, args)
        fitted = S.add(fitted, lost(scale, wqq, wqx))
    return E.below(fitted, error, new, d)


@S.inner
def blocks(args: int, first: int, count: int, heads: int) -> None:
    """Sixteen of them."""
    x, w, wanted, sub = _x(), _w(), heads + 64, S.word(args, E.SUB)
    subs = S.quotient(S.word(args, E.SIZE), sub)
    E.load(args, first, count, x)
    E.weigh(args, first, count, x, w)
    for i in range(subs):
        S.store_f32(wanted + 64 * i, fit(x + 64 * sub * i, w + 64 * sub * i, sub, args))
    if S.number(args, LEVELS) == S.f32(0.0):
        d = E.widened(S.narrow(S.load_f32(wanted)))
        S.store_f32(wanted, S.splat(S.f32(1.0)))
    else:
        d = superblocks(x, w, sub, subs, wanted, args)
    S.store_f32(heads, d)
    for i in range(subs):
        unit = E.inverse(S.mul(S.load_f32(wanted + 64 * i), d))
        for j in range(x + 64 * sub * i, x + 64 * sub * (i + 1), 64):
            S.store_f32(j, code(S.mul(S.load_f32(j), unit), args))
    E.store(args, first, count, x)


def build() -> Callable:
    """The one kernel of this file."""
    return E.kernel(blocks, 1, 1)
