"""Scales and codes of least weighted squared error, for all blocks at once. Knows no byte layout.

Blocks have one scale ("signed": a weight is scale * value) or a scale and an offset ("ranged": scale * code + low). Inside,
arrays are [weights of a block, blocks], so that sums over a block are sums of long rows. Sub-blocks whose scales are
quantized themselves are in `superblock.py`.

Where a backend has lent machine code (`lent.py`), that is used. It gives the same bits, so every sum here has its order: that of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgerun.formats.bits import F16
from edgerun.formats.lent import lent

# How far, in codes, the range is stretched in search of the best scale. Twice as many cost twice the time for half a percent of
# error; where there are many values, rounding leaves less to be won.
_LINE_STEPS = np.linspace(-1, 1, 7, dtype=np.float32)
_STEPS, _STEPS_OF_MANY = np.linspace(-1, 1, 5, dtype=np.float32), np.linspace(-0.7, 0.7, 3, dtype=np.float32)
_MANY = 64   # values
TERNARY = (-1, 0, 1)


def signed_blocks(x: np.ndarray, importance: np.ndarray | None, top: int, by_size: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """float32 [rows, cols] -> d float16 [rows, blocks, 1] and codes uint8 [rows, blocks, 32], where a weight is d * (code - top).

    Without importance the weight of largest magnitude becomes code 0, as in llama.cpp's reference. by_size: as in `error_weights`.
    """
    if importance is not None:
        return valued_blocks(x, importance, range(-top, top), by_size=by_size)
    if native := lent():
        scale, _, q = native.rounded(x, "signed", top)
        return scale.astype(F16).reshape(x.shape[0], -1, 1), q.reshape(x.shape[0], -1, 32)
    b = x.reshape(x.shape[0], -1, 32)
    d = np.take_along_axis(b, np.abs(b).argmax(-1)[..., None], -1) / np.float32(-top)
    q = (b * inverse(d) + np.float32(top + 0.5)).astype(np.uint8)
    return d.astype(F16), np.minimum(q, 2 * top - 1)


def valued_blocks(
    x: np.ndarray, importance: np.ndarray | None, values: Sequence[int], size: int = 32, by_size: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """float32 [rows, cols] -> d float16 [rows, blocks, 1] and codes uint8 [rows, blocks, size]: a weight is d * values[code].

    by_size: as in `error_weights`.
    """
    native = lent()
    if native and tuple(values) != TERNARY:
        d, _, q = native.scale(x, lent_weights(x, importance, size, by_size), size, size, values, 0, ends(values))
        return d.astype(F16).reshape(x.shape[0], -1, 1), q.reshape(x.shape[0], -1, size)
    b, w = columns(x, size), columns(error_weights(x, importance, size, by_size), size)
    fit = fit_ternary(b, w) if tuple(values) == TERNARY else fit_scale(b, w, values, rounds=1)
    d = fit.astype(F16)
    q = codes_of(nearest_of(values)(b * inverse(d.astype(np.float32))), values)
    return d.reshape(x.shape[0], -1, 1), q.reshape(x.shape[0], -1, size)


def ranged_blocks(x: np.ndarray, importance: np.ndarray | None, top: int, by_size: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """float32 [rows, cols] -> d and m float16 [rows, blocks, 2] and codes uint8 [rows, blocks, 32], where a weight is d * code + m.

    Without importance codes 0 and `top` are the smallest and the largest weight, as in llama.cpp's reference. by_size: as in `error_weights`.
    """
    rows = x.shape[0]
    native = lent()
    if importance is None and native:
        scale, start, q = native.rounded(x, "ranged", top)
        return np.stack([scale, start], -1).astype(F16).reshape(rows, -1, 2), q.reshape(rows, -1, 32)
    if importance is None:
        b = x.reshape(rows, -1, 32)
        low = b.min(-1, keepdims=True)
        d = (b.max(-1, keepdims=True) - low) / np.float32(top)
        q = ((b - low) * inverse(d) + np.float32(0.5)).astype(np.uint8)
        return np.concatenate([d, low], -1).astype(F16), np.minimum(q, top)
    b, w = columns(x, 32), columns(error_weights(x, importance, 32, by_size), 32)
    d, m, q = _line_in_halves(b, w, top, *fit_line(b, w, top, bounded=False, rounds=2))
    return np.stack([d, m], -1).astype(F16).reshape(rows, -1, 2), codes_of(q, range(top + 1)).reshape(rows, -1, 32)


def _line_in_halves(x: np.ndarray, w: np.ndarray, top: int, scale: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale and low as half floats, and the codes: of the scale's two neighbours and itself the one that is best once low is fitted to it.

    Where weights lie close to such a line, as those of a file that was quantized before, the last bit of a scale is most of the error.
    """
    nearest, unit = nearest_of(range(top + 1)), inverse(total(w))
    found: tuple[np.ndarray, ...] = ()
    half = scale.astype(F16)
    for d16 in (half, np.nextafter(half, np.float16(0)), np.nextafter(half, np.float16(np.inf))):
        d = d16.astype(np.float32)
        q = nearest((x - low) * inverse(d))
        m = (dot(w, x - d * q) * unit).astype(F16).astype(np.float32)
        q = nearest((x - m) * inverse(d))
        error = dot(w, np.square(x - d * q - m))
        if found:
            better = error < found[3]
            found = tuple(np.where(better, new, old) for new, old in zip((d, m, q, error), found, strict=True))
        else:
            found = d, m, q, error
    return found[0], found[1], found[2]


def nearest_of(values: Sequence[int]) -> Callable[[np.ndarray], np.ndarray]:
    """A function of a float32 array, which it may overwrite: every number replaced by the nearest of the ascending `values`."""
    first, last = values[0], values[-1]
    if len(values) == last - first + 1:
        return lambda y: np.clip(np.rint(y, out=y), first, last, out=y)
    table = levels_of(values)

    def nearest(y: np.ndarray) -> np.ndarray:
        y = np.clip(y, first, last, out=y)
        y -= first
        y += y
        return table.take(y.astype(np.intp), mode="clip")   # what is not below zero need not be rounded down

    return nearest


def levels_of(values: Sequence[int]) -> np.ndarray:
    """The nearest of the ascending `values` for every half unit from the first on: borders between integers are multiples of a half."""
    units = np.arange(2 * values[0], 2 * values[-1] + 1) / 2 + 0.25
    every = np.asarray(values, np.float32)
    return every[np.abs(units[:, None] - every).argmin(-1)]


def codes_of(q: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """Numbers out of the ascending `values`, [sub, n] -> their codes, uint8 [n, sub]."""
    first, last = values[0], values[-1]
    places = np.subtract(q.T, first, dtype=np.float32, order="C").astype(np.uint8)
    if len(values) == last - first + 1:
        return places
    table = np.zeros(last - first + 1, np.uint8)
    table[np.asarray(values) - first] = np.arange(len(values))
    return table[places]


def columns(x: np.ndarray, sub: int) -> np.ndarray:
    """[rows, cols] -> [sub, all blocks of `sub`]."""
    return np.ascontiguousarray(x.reshape(-1, sub).T)


def error_weights(x: np.ndarray, importance: np.ndarray | None, sub: int, by_size: int = 0) -> np.ndarray:
    """How much each squared error counts, float32 like x: the importance of its column, where it is known.

    Where nothing is known more for larger weights, which are likely to be there for larger inputs. by_size: with importance too, this many
    times (0 to 3) by the square root of that. See docs/quantization.md for where how much of it helps.
    """
    weights = column_weights(importance)
    if weights is not None and not by_size:
        return np.tile(weights, (x.shape[0], 1))
    mean = total(np.square(columns(x, sub))) / np.float32(sub)
    sizes = np.repeat(np.sqrt(mean), sub).reshape(x.shape) + np.abs(x)
    if weights is None:
        return sizes
    root = np.sqrt(sizes)
    return weights * (root, sizes, sizes * root)[by_size - 1]


def lent_weights(x: np.ndarray, importance: np.ndarray | None, sub: int, by_size: int) -> np.ndarray | None:
    """The same for machine code: of columns where they are all that counts, None where it makes them itself."""
    weights = column_weights(importance)
    return weights if weights is None or not by_size else error_weights(x, importance, sub, by_size)


def column_weights(importance: np.ndarray | None) -> np.ndarray | None:
    """Importance as the errors of columns are weighted by it, at most 1; None where nothing is known of it."""
    if importance is None or not importance.any():
        return None
    return np.maximum(importance / importance.max(), 1e-6).astype(np.float32)


def inverse(x: np.ndarray) -> np.ndarray:
    """1 / x, and 0 where that is infinite."""
    y = np.float32(1) / x
    np.copyto(y, 0, where=np.isinf(y))
    return y


def largest(x: np.ndarray) -> np.ndarray:
    """The number of largest magnitude, with its sign, in each column."""
    return np.take_along_axis(x, np.abs(x).argmax(0)[None], 0)[0]


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The sum of a * b down each column."""
    return total(a * b)


def total(a: np.ndarray) -> np.ndarray:
    """The sum down each column, from the first number to the last (NumPy takes others first where there is one column)."""
    return a.sum(0) if a.shape[1] != 1 else np.add.accumulate(a)[-1]


def ends(values: Sequence[int]) -> np.ndarray:
    """What the largest number is made in search of the best scale: the ends of the values, and a little more and less."""
    steps = (_STEPS if len(values) < _MANY else _STEPS_OF_MANY) * ((values[-1] - values[0]) / (len(values) - 1))
    return np.concatenate([values[0] + steps, values[-1] + steps])


def stretch(top: int) -> np.ndarray:
    """What the largest code is made in search of the best line."""
    return top + _LINE_STEPS


def fit_scale(x: np.ndarray, w: np.ndarray, values: Sequence[int], rounds: int = 0) -> np.ndarray:
    """The scale of each column for which scale * (nearest of values) is closest to x; in the end it is fitted `rounds` times."""
    nearest = nearest_of(values)
    unit = inverse(largest(x))
    wx = w * x
    scale = gain = np.zeros(x.shape[1], np.float32)

    def consider(q: np.ndarray) -> None:
        nonlocal scale, gain
        product = dot(wx, q)
        new = product * inverse(dot(w, np.square(q, out=q)))
        better = new * product > gain
        scale, gain = np.where(better, new, scale), np.where(better, new * product, gain)

    for end in ends(values):
        consider(nearest(x * (unit * end)))
    for _ in range(rounds):
        consider(nearest(x * inverse(scale)))
    return scale


def fit_ternary(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The scale of each column for which scale * (-1, 0 or 1) is closest to x.

    It is the best there is: all ways to keep the largest 1, 2, ... numbers are compared.
    """
    size = np.abs(x)
    order = np.argsort(-size, 0)
    size, w = np.take_along_axis(size, order, 0), np.take_along_axis(w, order, 0)
    total, weight = np.cumsum(size * w, 0), np.cumsum(w, 0)
    mean = total * inverse(weight)   # the best scale if all others become 0, which takes mean * total off the error
    return np.take_along_axis(mean, (mean * total).argmax(0)[None], 0)[0]


def fit_line(x: np.ndarray, w: np.ndarray, top: int, bounded: bool, rounds: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scale and low of each column for which scale * (code 0 to top) + low is closest to x; bounded: low is never positive."""
    start = x.min(0)
    if bounded:
        start = np.minimum(start, 0)
    y = x - start   # sums of what is small lose less
    nearest = nearest_of(range(top + 1))
    sw, wy = total(w), w * y
    sy, unit = total(wy), inverse(y.max(0))
    scale = low = change = np.zeros(x.shape[1], np.float32)

    def consider(q: np.ndarray) -> None:
        nonlocal scale, low, change
        wq = w * q
        sq, sqq, sqy = total(wq), dot(wq, q), dot(wy, q)
        a = (sw * sqy - sq * sy) * inverse(sw * sqq - sq * sq)
        b = (sy - a * sq) * inverse(sw)
        if bounded:
            over = b + start > 0
            b = np.where(over, -start, b)
            a = np.where(over, (sqy + start * sq) * inverse(sqq), a)
        a = np.maximum(a, 0)
        error = a * (a * sqq + 2 * (b * sq - sqy)) + b * (b * sw - 2 * sy)   # less the error of y = 0, the same for all
        better = error < change
        scale, low, change = np.where(better, a, scale), np.where(better, b, low), np.where(better, error, change)

    for most in stretch(top):
        consider(nearest(y * (unit * most)))
    for _ in range(rounds):
        consider(nearest((y - low) * inverse(scale)))
    return scale, low + start
