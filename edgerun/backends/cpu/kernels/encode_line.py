"""Blocks of codes from 0 on, scale * code + low: `ranged` of `formats/superblock.py`, sixteen superblocks at a time and bit for bit.

    args     those of `encode_lanes.py` | TOP: largest code | LEVELS: largest scale and minimum, both float32 | STEPS: how many, and
             float32 [STEPS], what the ranges are stretched to in search of the best scale
    heads    float32 [16 blocks][d | m | scale of each sub-block | minimum of each sub-block][16]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgerun.backends.cpu.kernels import encode_lanes as E
from edgerun.backends.cpu.kernels import simd as S

TOP, LEVELS, STEPS, STRETCH = range(E.OWN, E.OWN + 4)
_x, _w = S.scratch(64 * E.LARGEST), S.scratch(64 * E.LARGEST)
_y, _wy = S.scratch(64 * 32), S.scratch(64 * 32)
_SUMS = 5   # vectors kept of each sub-block: sums of w, wx, wq, wqq and wqx
_sums = S.scratch(64 * 16 * _SUMS)
_wanted = S.scratch(64 * 32)
_WAYS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1))   # as in `formats/superblock.py`
_UP = sum((scale + 1) << 4 * i | (low + 1) << 4 * i + 2 for i, (scale, low) in enumerate(_WAYS))
_COUNT = len(_WAYS)


@S.inner
def nearest(y: Any, top: Any) -> Any:
    """The nearest codes."""
    return E.whole(E.bounded(y, S.zero(), top))


@S.inner
def fit(x: int, w: int, sub: int, args: int) -> Any:
    """Scale and low of a sub-block by itself: `fit_line`."""
    y, wy = _y(), _wy()
    top, zero = S.splat(S.number(args, TOP)), S.zero()
    start = S.zero()
    for j in range(0, 64 * sub, 64):
        v = S.load_f32(x + j)
        start = E.below(v, start, v, start)
    sw = sy = most = S.zero()
    for j in range(0, 64 * sub, 64):
        v, u = S.sub(S.load_f32(x + j), start), S.load_f32(w + j)
        S.store_f32(y + j, v)
        vu = S.mul(u, v)
        S.store_f32(wy + j, vu)
        sw, sy = S.add(sw, u), S.add(sy, vu)
        most = E.below(most, v, v, most)
    unit, two = E.inverse(most), S.splat(S.f32(2.0))
    inverse_sw = E.inverse(sw)
    scale = low = change = S.zero()
    for step in range(S.word(args, STEPS)):
        factor = S.mul(unit, S.splat(S.peek_f32(S.word(args, STRETCH) + 4 * step)))
        sq = sqq = sqy = S.zero()
        for j in range(0, 64 * sub, 64):
            q = nearest(S.mul(S.load_f32(y + j), factor), top)
            wq = S.mul(S.load_f32(w + j), q)
            sq, sqq, sqy = S.add(sq, wq), S.add(sqq, S.mul(wq, q)), S.add(sqy, S.mul(S.load_f32(wy + j), q))
        a = S.mul(S.sub(S.mul(sw, sqy), S.mul(sq, sy)), E.inverse(S.sub(S.mul(sw, sqq), S.mul(sq, sq))))
        b = S.mul(S.sub(sy, S.mul(a, sq)), inverse_sw)
        over = S.add(b, start)
        a = E.below(zero, over, S.mul(S.add(sqy, S.mul(start, sq)), E.inverse(sqq)), a)
        b = E.below(zero, over, S.negate(start), b)
        a = E.below(a, zero, zero, a)
        inner = S.add(S.mul(a, sqq), S.mul(two, S.sub(S.mul(b, sq), sqy)))
        error = S.add(S.mul(a, inner), S.mul(b, S.sub(S.mul(b, sw), S.mul(two, sy))))
        scale, low, change = E.below(error, change, a, scale), E.below(error, change, b, low), E.below(error, change, error, change)
    return scale, S.add(low, start), sw


@S.inner
def measure(x: int, w: int, sub: int, scale: Any, low: Any, top: Any) -> Any:
    """The sums of wq, wqq and wqx for a scale and a minimum, multiplied out."""
    unit = E.inverse(scale)
    wq = wqq = wqx = S.zero()
    for j in range(0, 64 * sub, 64):
        v = S.load_f32(x + j)
        q = nearest(S.mul(S.add(v, low), unit), top)
        each = S.mul(S.load_f32(w + j), q)
        wq, wqq, wqx = S.add(wq, each), S.add(wqq, S.mul(each, q)), S.add(wqx, S.mul(each, v))
    return wq, wqq, wqx


@S.inner
def lost(scale: Any, low: Any, wq: Any, wqq: Any, wqx: Any, sw: Any, swx: Any) -> Any:
    """The error, less that of zeros: `_Sums.error`."""
    two = S.splat(S.f32(2.0))
    inner = S.sub(S.mul(scale, wqq), S.mul(two, S.add(wqx, S.mul(low, wq))))
    return S.add(S.mul(scale, inner), S.mul(low, S.add(S.mul(low, sw), S.mul(two, swx))))


@S.inner
def settle(x: int, w: int, sub: int, sums: int, s0: Any, t0: Any, d: Any, m: Any, args: int) -> Any:
    """The best neighbours of a scale and a minimum; their sums are kept."""
    top, levels, zero = S.splat(S.number(args, TOP)), S.splat(S.number(args, LEVELS)), S.zero()
    sw, swx = S.load_f32(sums), S.zero()
    for j in range(0, 64 * sub, 64):
        swx = S.add(swx, S.mul(S.load_f32(w + j), S.load_f32(x + j)))
    s, t = s0, t0
    one, two, three = measure(x, w, sub, S.mul(s, d), S.mul(t, m), top)
    error = lost(S.mul(s, d), S.mul(t, m), one, two, three, sw, swx)
    ways = _UP
    for _ in range(_COUNT):
        up, side = S.splat(S.f32((ways & 3) - 1)), S.splat(S.f32((ways >> 2 & 3) - 1))
        ways >>= 4
        i, j = E.bounded(S.add(s0, up), zero, levels), E.bounded(S.add(t0, side), zero, levels)
        scale, low = S.mul(i, d), S.mul(j, m)
        wq, wqq, wqx = measure(x, w, sub, scale, low, top)
        new = lost(scale, low, wq, wqq, wqx, sw, swx)
        s, t = E.below(new, error, i, s), E.below(new, error, j, t)
        one, two, three = E.below(new, error, wq, one), E.below(new, error, wqq, two), E.below(new, error, wqx, three)
        error = E.below(new, error, new, error)
    S.store_f32(sums + 64, swx)
    S.store_f32(sums + 128, one)
    S.store_f32(sums + 192, two)
    S.store_f32(sums + 256, three)
    return s, t, error


@S.inner
def refit(sums: int, scales: int, mins: int, subs: int) -> Any:
    """The d and m of least error for the same codes, scales and minima: `_Sums.refit`."""
    a = b = c = p = r = S.zero()
    for i in range(subs):
        s, t, at = S.load_f32(scales + 64 * i), S.load_f32(mins + 64 * i), sums + 64 * _SUMS * i
        a = S.add(a, S.mul(S.mul(S.load_f32(at + 192), s), s))
        b = S.add(b, S.mul(S.mul(S.load_f32(at + 128), s), t))
        c = S.add(c, S.mul(S.mul(S.load_f32(at), t), t))
        p = S.add(p, S.mul(S.load_f32(at + 256), s))
        r = S.add(r, S.mul(S.load_f32(at + 64), t))
    zero = S.zero()
    det = S.sub(S.mul(a, c), S.mul(b, b))
    unit = E.inverse(det)
    d = E.below(zero, det, S.mul(S.sub(S.mul(p, c), S.mul(r, b)), unit), S.mul(p, E.inverse(a)))
    m = E.below(zero, det, S.mul(S.sub(S.mul(p, b), S.mul(r, a)), unit), zero)
    return E.half(d), E.half(E.below(m, zero, zero, m))


@S.inner
def blocks(args: int, first: int, count: int, heads: int) -> None:
    """Sixteen of them."""
    x, w, sums, wanted = _x(), _w(), _sums(), _wanted()
    sub, top, levels, zero = S.word(args, E.SUB), S.splat(S.number(args, TOP)), S.splat(S.number(args, LEVELS)), S.zero()
    subs = S.quotient(S.word(args, E.SIZE), sub)
    E.load(args, first, count, x)
    E.weigh(args, first, count, x, w)
    d = m = S.zero()
    for i in range(subs):
        scale, low, sw = fit(x + 64 * sub * i, w + 64 * sub * i, sub, args)
        S.store_f32(sums + 64 * _SUMS * i, sw)
        low = S.negate(low)
        S.store_f32(wanted + 128 * i, scale)
        S.store_f32(wanted + 128 * i + 64, low)
        d, m = E.below(d, scale, scale, d), E.below(m, low, low, m)
    d, m = E.half(S.div(d, levels)), E.half(S.div(m, levels))
    by_d, by_m = E.inverse(d), E.inverse(m)
    scales, mins, error = heads + 128, heads + 128 + 64 * subs, S.zero()
    for i in range(subs):
        s = E.whole(E.bounded(S.mul(S.load_f32(wanted + 128 * i), by_d), zero, levels))
        t = E.whole(E.bounded(S.mul(S.load_f32(wanted + 128 * i + 64), by_m), zero, levels))
        s, t, left = settle(x + 64 * sub * i, w + 64 * sub * i, sub, sums + 64 * _SUMS * i, s, t, d, m, args)
        S.store_f32(scales + 64 * i, s)
        S.store_f32(mins + 64 * i, t)
        error = S.add(error, left)
    new_d, new_m = refit(sums, scales, mins, subs)
    fitted = S.zero()
    for i in range(subs):
        scale, low = S.mul(S.load_f32(scales + 64 * i), new_d), S.mul(S.load_f32(mins + 64 * i), new_m)
        at = sums + 64 * _SUMS * i
        wq, wqq, wqx = measure(x + 64 * sub * i, w + 64 * sub * i, sub, scale, low, top)
        fitted = S.add(fitted, lost(scale, low, wq, wqq, wqx, S.load_f32(at), S.load_f32(at + 64)))
    d, m = E.below(fitted, error, new_d, d), E.below(fitted, error, new_m, m)
    S.store_f32(heads, d)
    S.store_f32(heads + 64, m)
    for i in range(subs):
        unit, low = E.inverse(S.mul(S.load_f32(scales + 64 * i), d)), S.mul(S.load_f32(mins + 64 * i), m)
        for j in range(x + 64 * sub * i, x + 64 * sub * (i + 1), 64):
            S.store_f32(j, nearest(S.mul(S.add(S.load_f32(j), low), unit), top))
    E.store(args, first, count, x)


def build() -> Callable:
    """The one kernel of this file."""
    return E.kernel(blocks, 2, 2)
