"""Superblocks of 256 weights whose sub-blocks have small integers for scales: the search for all of them. Knows no byte layout.

A first guess fits every sub-block by itself (`search.py`) and rounds its scales; then the integers' neighbours are tried and
the half floats fitted to them, which is what makes up for the rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgerun.formats import search
from edgerun.formats.bits import F16

SIZE = 256


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
    problem = _Problem(x, importance, sub, range(top + 1), (0, levels))
    scale, low = (a.reshape(-1, SIZE // sub) for a in search.fit_line(problem.x, problem.w, top, bounded=True))
    d, m = half(scale.max(-1) / levels), half(-low.min(-1) / levels)
    return problem.solve(Superblock(d, m, problem.whole(scale, d), problem.whole(-low, m)))


def signed(x: np.ndarray, importance: np.ndarray | None, sub: int, values: Sequence[int], levels: int) -> tuple[Superblock, np.ndarray]:
    """Codes that stand for the ascending `values`, scales -levels to levels - 1; x and codes as in `ranged`."""
    problem = _Problem(x, importance, sub, values, (-levels, levels - 1))
    scale = search.fit_scale(problem.x, problem.w, values).reshape(-1, SIZE // sub)
    d = half(search.largest(scale.T) / -levels)
    return problem.solve(Superblock(d, np.zeros_like(d), problem.whole(scale, d), np.zeros_like(scale)))


class _Problem:
    """Weights to be met and what may be said of them; x and w (the weight of each error) are [sub, all sub-blocks]."""

    def __init__(self, x: np.ndarray, importance: np.ndarray | None, sub: int, values: Sequence[int], limits: tuple[int, int]) -> None:
        self.x = search.columns(x, sub)
        self.w = search.columns(search.error_weights(x, importance, sub), sub)
        self.values, self.limits = values, limits
        self.nearest = search.nearest_of(values)

    def whole(self, wanted: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Wanted / unit as integers within the limits: [n, sub-blocks] and [n] -> [n, sub-blocks]."""
        return np.clip(np.rint(wanted * search.inverse(unit)[:, None]), *self.limits)

    def solve(self, guess: Superblock) -> tuple[Superblock, np.ndarray]:
        """A guess improved, and its codes, uint8 [n, 256]."""
        best, error = self.settle(guess)
        for _ in range(search.ROUNDS):
            other, other_error = self.settle(self.refit(best))
            best, error = _better(best, error, other, other_error)
        return best, search.codes_of(self.code(best)[0], self.values).reshape(-1, SIZE)

    def code(self, guess: Superblock) -> tuple[np.ndarray, np.ndarray]:
        """The nearest values, [sub, all sub-blocks], and the error of each sub-block, [n, sub-blocks]."""
        scale, low = ((whole * unit[:, None]).reshape(-1) for whole, unit in ((guess.scales, guess.d), (guess.mins, guess.m)))
        q = self.nearest((self.x + low) * search.inverse(scale))
        r = q * scale
        r -= low
        r -= self.x
        return q, search.dot(self.w, np.square(r, out=r)).reshape(guess.scales.shape)

    def settle(self, guess: Superblock) -> tuple[Superblock, np.ndarray]:
        """Move every integer to the best of its neighbours; returns the errors too, [n]."""
        best, error = guess, self.code(guess)[1]
        ways = [(i, j) for i in (-1, 0, 1) for j in ((-1, 0, 1) if guess.m.any() else (0,)) if i or j]
        for i, j in ways:
            near = replace(guess, scales=np.clip(guess.scales + i, *self.limits), mins=np.clip(guess.mins + j, *self.limits))
            best, error = _better(best, error, near, self.code(near)[1])
        return best, error.sum(-1)

    def refit(self, guess: Superblock) -> Superblock:
        """The d and m of least error for the guess's codes, scales and minima: two linear equations for each superblock."""
        q, w, scales, mins = self.code(guess)[0], self.w, guess.scales, guess.mins
        wq = w * q

        def total(sums: np.ndarray, by: np.ndarray) -> np.ndarray:
            return (sums.reshape(scales.shape) * by).sum(-1)

        a, b, c = total(search.dot(wq, q), scales**2), total(wq.sum(0), scales * mins), total(w.sum(0), mins**2)
        p, r = total(search.dot(wq, self.x), scales), total(search.dot(w, self.x), mins)
        det = a * c - b * b
        alone = det <= 0
        d = np.where(alone, p * search.inverse(a), (p * c - r * b) * search.inverse(det))
        m = np.where(alone, 0, (p * b - r * a) * search.inverse(det))
        return replace(guess, d=half(d), m=half(np.maximum(m, 0)))


def half(x: np.ndarray) -> np.ndarray:
    """float32 rounded to what a half float can say; up where halves are so small that the largest scale would no longer be reached."""
    half = x.astype(F16)
    short = np.abs(half) < np.abs(x) * np.float32(0.999)
    return np.where(short, np.nextafter(half, np.copysign(np.inf, x).astype(F16)), half).astype(np.float32)


def _better(one: Superblock, error: np.ndarray, other: Superblock, other_error: np.ndarray) -> tuple[Superblock, np.ndarray]:
    """The better of two by their errors, [n] or (with the same d and m) [n, sub-blocks], each for itself."""
    pick = other_error < error
    if pick.ndim == 1:
        one = replace(one, d=np.where(pick, other.d, one.d), m=np.where(pick, other.m, one.m))
    each = pick.reshape(len(pick), -1)
    scales, mins = np.where(each, other.scales, one.scales), np.where(each, other.mins, one.mins)
    return replace(one, scales=scales, mins=mins), np.where(pick, other_error, error)
