"""Superblocks of 256 weights whose sub-blocks have small integers for scales: the search for all of them. Knows no byte layout.

A first guess fits every sub-block by itself (`search.py`) and rounds its scales; then the integers' neighbours are tried and
the half floats fitted to them, which is what makes up for the rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgerun.dataclass import dataclass
from edgerun.formats import search
from edgerun.formats.bits import F16
from edgerun.formats.lent import lent

SIZE = 256
# Which neighbours are tried of a scale and a minimum. One up and the other down leaves hardly any error smaller.
_LINE_WAYS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1))
_SCALE_WAYS = ((1, 0), (-1, 0))


@dataclass(frozen=True)
class Superblock:
    """The numbers of n superblocks. A weight is d * scale * values[code] - m * min.

    d and m [n], scales and mins [n, sub-blocks]: float32 that hold half floats and integers.
    """

    d: np.ndarray
    m: np.ndarray
    scales: np.ndarray
    mins: np.ndarray

    @property
    def d_bytes(self) -> np.ndarray:
        """D as half floats, uint8 [n, 2]."""
        return self.d[:, None].astype(F16).view(np.uint8)

    @property
    def m_bytes(self) -> np.ndarray:
        """M as half floats, uint8 [n, 2]."""
        return self.m[:, None].astype(F16).view(np.uint8)


def ranged(x: np.ndarray, importance: np.ndarray | None, sub: int, top: int, levels: int) -> tuple[Superblock, np.ndarray]:
    """Codes 0 to `top`, scales and minima 0 to `levels`. x: float32 [rows, cols], cols a multiple of 256. Codes: uint8 [n, 256]."""
    if native := lent():
        found = native.line(x, search.column_weights(importance), sub, top, levels, search.stretch(top))
        return Superblock(*found[:4]), found[4]
    problem = _Problem(x, search.error_weights(x, importance, sub), sub, range(top + 1), (0, levels))
    scale, low = (a.reshape(-1, SIZE // sub) for a in search.fit_line(problem.x, problem.w, top, bounded=True))
    d, m = half(scale.max(-1) / levels), half(np.abs(low.min(-1)) / levels)
    return problem.solve(Superblock(d, m, problem.whole(scale, d), problem.whole(-low, m)))


def signed(
    x: np.ndarray, importance: np.ndarray | None, sub: int, values: Sequence[int], levels: int, by_size: int = 0
) -> tuple[Superblock, np.ndarray]:
    """Codes that stand for the ascending `values`, scales -levels to levels - 1; x and codes as in `ranged`, by_size as in `error_weights`."""
    if native := lent():
        d, scales, codes = native.scale(x, search.lent_weights(x, importance, sub, by_size), SIZE, sub, values, levels, search.ends(values))
        return Superblock(d, np.zeros_like(d), scales, np.zeros_like(scales)), codes
    problem = _Problem(x, search.error_weights(x, importance, sub, by_size), sub, values, (-levels, levels - 1))
    scale = search.fit_scale(problem.x, problem.w, values).reshape(-1, SIZE // sub)
    d = half(search.largest(scale.T) / -levels)
    return problem.solve(Superblock(d, np.zeros_like(d), problem.whole(scale, d), np.zeros_like(scale)))


class _Problem:
    """Weights to be met and what may be said of them; x and w (the weight of each error) are [sub, all sub-blocks]."""

    def __init__(self, x: np.ndarray, w: np.ndarray, sub: int, values: Sequence[int], limits: tuple[int, int]) -> None:
        self.x, self.w = search.columns(x, sub), search.columns(w, sub)
        self.values, self.limits = values, limits
        self.nearest = search.nearest_of(values)
        self.ranged = limits[0] == 0
        self.sw, self.swx = search.total(self.w), search.dot(self.w, self.x)

    def whole(self, wanted: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Wanted / unit as integers within the limits: [n, sub-blocks] and [n] -> [n, sub-blocks]."""
        return np.clip(np.rint(wanted * search.inverse(unit)[:, None]), *self.limits)

    def solve(self, guess: Superblock) -> tuple[Superblock, np.ndarray]:
        """A guess improved, and its codes, uint8 [n, 256]."""
        settled, sums = self.settle(guess)
        fitted = sums.refit(settled)
        better = _total(self.sums(fitted).error(fitted)) < _total(sums.error(settled))
        best = _pick(better, fitted, settled)
        return best, search.codes_of(self.code(best), self.values).reshape(-1, SIZE)

    def settle(self, guess: Superblock) -> tuple[Superblock, _Sums]:
        """Move every integer to the best of its neighbours; the sums are those of the result."""
        best, sums = guess, self.sums(guess)
        error = sums.error(guess)
        for i, j in _LINE_WAYS if self.ranged else _SCALE_WAYS:
            near = replace(guess, scales=np.clip(guess.scales + i, *self.limits), mins=np.clip(guess.mins + j, *self.limits))
            near_sums = self.sums(near)
            near_error = near_sums.error(near)
            better = near_error < error
            best, sums, error = _pick(better, near, best), sums.pick(better, near_sums), np.where(better, near_error, error)
        return best, sums

    def code(self, guess: Superblock) -> np.ndarray:
        """The nearest values, [sub, all sub-blocks]."""
        unit = search.inverse((guess.scales * guess.d[:, None]).reshape(-1))
        y = self.x + (guess.mins * guess.m[:, None]).reshape(-1) if self.ranged else self.x
        return self.nearest(y * unit)

    def sums(self, guess: Superblock) -> _Sums:
        """What its nearest values q make of a guess."""
        q = self.code(guess)
        wq = self.w * q
        once = search.dot(self.w, q) if self.ranged else self.sw   # multiplied by a minimum, of which there is none
        shape = guess.scales.shape
        twice, meets = search.dot(wq, q).reshape(shape), search.dot(wq, self.x).reshape(shape)
        return _Sums(once.reshape(shape), twice, meets, self.sw.reshape(shape), self.swx.reshape(shape))


@dataclass(frozen=True)
class _Sums:
    """Sums over each sub-block, [n, sub-blocks], of products of the weights w, the codes' values q and the numbers x.

    They are all it takes to know the error of any scale and minimum, and the best d and m, as long as codes stay.
    """

    wq: np.ndarray
    wqq: np.ndarray
    wqx: np.ndarray
    w: np.ndarray
    wx: np.ndarray

    def error(self, guess: Superblock) -> np.ndarray:
        """The weighted squared error, less that of zeros, [n, sub-blocks]."""
        scale, low = guess.scales * guess.d[:, None], guess.mins * guess.m[:, None]
        return scale * (scale * self.wqq - 2 * (self.wqx + low * self.wq)) + low * (low * self.w + 2 * self.wx)

    def refit(self, guess: Superblock) -> Superblock:
        """The d and m of least error for the same codes, scales and minima: two linear equations for each superblock."""
        s, t = guess.scales, guess.mins
        a, b, c = _total(self.wqq * s * s), _total(self.wq * s * t), _total(self.w * t * t)
        p, r = _total(self.wqx * s), _total(self.wx * t)
        det = a * c - b * b
        alone = det <= 0
        d = np.where(alone, p * search.inverse(a), (p * c - r * b) * search.inverse(det))
        m = np.where(alone, 0, (p * b - r * a) * search.inverse(det))
        return replace(guess, d=half(d), m=half(np.maximum(m, 0)))

    def pick(self, better: np.ndarray, other: _Sums) -> _Sums:
        """The other's sums where they are better, [n, sub-blocks]; what does not depend on codes is the same."""
        once, twice = np.where(better, other.wq, self.wq), np.where(better, other.wqq, self.wqq)
        return _Sums(once, twice, np.where(better, other.wqx, self.wqx), self.w, self.wx)


def half(x: np.ndarray) -> np.ndarray:
    """float32 rounded to what a half float can say; up where halves are so small that the largest scale would no longer be reached."""
    half = x.astype(F16)
    short = np.abs(half) < np.abs(x) * np.float32(0.999)
    return np.where(short, np.nextafter(half, np.copysign(np.inf, x).astype(F16)), half).astype(np.float32)


def _total(a: np.ndarray) -> np.ndarray:
    """Sums over sub-blocks, from the first to the last: [n, sub-blocks] -> [n]."""
    return search.total(np.ascontiguousarray(a.T))


def _pick(better: np.ndarray, other: Superblock, one: Superblock) -> Superblock:
    """The other where it is better: of whole superblocks, [n], or, with the same d and m, of sub-blocks, [n, sub-blocks]."""
    if better.ndim == 1:
        one = replace(one, d=np.where(better, other.d, one.d), m=np.where(better, other.m, one.m))
        better = better[:, None]
    return replace(one, scales=np.where(better, other.scales, one.scales), mins=np.where(better, other.mins, one.mins))
