"""Superblocks of 256 weights made of vectors of a codebook: the search for vectors and scales. Knows no byte layout.

A weight is d * (2 * scale + 1) * value. For each scale that is tried every run of weights gets the very nearest vector (llama.cpp
looks only at some near the rounded weights): which one that is for all runs is a product of matrices. Scales are free numbers
first, then integers with a d that is fitted to them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from edgerun.dataclass import dataclass
from edgerun.formats import search
from edgerun.formats.bits import F16
from edgerun.formats.codebook import Codebook
from edgerun.formats.lent import lent
from edgerun.formats.superblock import SIZE, half

_ROUNDS = 2             # how often scales are made integers and fitted to the vectors they give
_ALONE = 1 << 18        # multiplications of a product up to which BLAS libraries start no threads of their own
_AT_ONCE = 1 << 18      # gains computed at a time, so that they stay in a core's own cache
_Assign = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Match:
    """The numbers of n superblocks.

    d: float32 [n] that hold half floats; scales: uint8 [n, sub-blocks]; index: of the vectors, [n, 256 / width]; signs: of the
    weights, a bit for each of 8, uint8 [n, 32]; error: weighted squared error, less that of zeros, [n].
    """

    d: np.ndarray
    scales: np.ndarray
    index: np.ndarray
    signs: np.ndarray
    error: np.ndarray

    @property
    def d_bytes(self) -> np.ndarray:
        """D as half floats, uint8 [n, 2]."""
        return self.d[:, None].astype(F16).view(np.uint8)


@dataclass(frozen=True)
class Layout:
    """How a format uses a codebook.

    unit: what a value is multiplied by; sub: weights with a scale of their own; levels: how many scales there are; starts: the
    scales tried first, for weights whose mean square is 1.
    """

    book: Codebook
    unit: float
    sub: int
    levels: int
    starts: Sequence[float]


def magnitudes(layout: Layout, x: np.ndarray, importance: np.ndarray | None, even: bool = False) -> Match:
    """Vectors of magnitudes, each weight with a sign; even: of which 8 weights have an even number. x: float32 [rows, cols].

    Large weights count more with importance too, by the square root.
    """
    w = search.error_weights(x, importance, layout.sub, by_size=1)
    negative, size = (x < 0).reshape(-1, 8), np.abs(x).reshape(-1, 8)
    if even:
        make_even(negative, size, w.reshape(-1, 8))
    points = _points(layout.book, layout.unit)
    runs, weights = (a.reshape(-1, layout.book.width) for a in (size, w))
    signs = np.packbits(negative, axis=-1, bitorder="little")

    def assign(scale: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        index = points.nearest(runs, weights, scale)[0]
        return points.values[index], index, signs

    return _Problem(layout, size, w, assign).solve()


def shifted(layout: Layout, x: np.ndarray, importance: np.ndarray | None, by: float, shared: int, by_size: int = 0) -> Match:
    """Vectors to whose values `by` is added, or subtracted where signs are set: alike in `shared` vectors of 8. x: float32 [rows, cols].

    by_size: as in `error_weights`.
    """
    w = search.error_weights(x, importance, layout.sub, by_size)
    points = _points(layout.book, layout.unit)
    runs, weights = x.reshape(-1, 8), w.reshape(-1, 8)

    def assign(scale: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        (up, error_up), (down, error_down) = (remaining(scale, shift) for shift in (by, -by))
        minus = np.repeat(error_down < error_up, shared)
        index = np.where(minus, down, up)
        return points.values[index] + np.where(minus, -by, by).astype(np.float32)[:, None], index, minus * np.uint8(255)

    def remaining(scale: np.ndarray, shift: float) -> tuple[np.ndarray, np.ndarray]:
        rest = runs - scale * np.float32(shift)
        index, gain = points.nearest(rest, weights, scale)
        return index, (np.einsum("ij,ij,ij->i", weights, rest, rest) - gain).reshape(-1, shared).sum(-1)

    return _Problem(layout, x, w, assign).solve()


def make_even(negative: np.ndarray, size: np.ndarray, w: np.ndarray) -> None:
    """Turn, in place, one sign of each 8 whose number of signs is odd, where that costs least; its magnitude becomes negative."""
    odd = np.flatnonzero(negative.sum(-1) & 1)
    least = (w[odd] * size[odd]).argmin(-1)   # |v + s * g|^2 - |v - s * g|^2 is 4 * v * s * g, and g is small where v is
    negative[odd, least] ^= True
    size[odd, least] *= -1


class Points:
    """The vectors of a codebook as numbers, float32 [vectors, width].

    levels: what digits stand for, float32 [digits]; halves: the digits of the first and the last half of each vector read as numbers, the
    first one counting least, [vectors, 2].
    """

    def __init__(self, book: Codebook, unit: float) -> None:
        self.levels = np.array(book.values, np.float32) * np.float32(unit)
        self.halves = book.digits.reshape(-1, 2, book.width // 2) @ len(book.values) ** np.arange(book.width // 2)
        self.values = np.array(book.values, np.float32)[book.digits] * np.float32(unit)
        self._table = np.concatenate([self.values, np.square(self.values)], 1).T.copy()

    def nearest(self, x: np.ndarray, w: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The vectors nearest to x once multiplied by scale, and how much each takes off the error, w being its weights.

        x and w: float32 [count, width]; scale: float32 [count, 1]. Both results: [count].
        """
        count, width = x.shape
        if (native := lent()) and not count % 16:
            return native.vectors(x, w, scale, self.levels, self.halves)
        step = max(1, _ALONE // self._table.size)
        stacks = -(-count // step)
        terms = np.zeros((stacks * step, 2 * width), np.float32)
        np.multiply(w * x, 2 * scale, out=terms[:count, :width])
        np.multiply(w, -np.square(scale), out=terms[:count, width:])
        terms = terms.reshape(stacks, step, -1)
        index, gain = np.empty((stacks, step), np.intp), np.empty((stacks, step), np.float32)
        some = max(1, _AT_ONCE // (step * len(self.values)))
        room = np.empty((some, step, len(self.values)), np.float32)
        for at in range(0, stacks, some):
            part = slice(at, at + some)
            gains = np.matmul(terms[part], self._table, out=room[: stacks - at])
            gains.argmax(-1, out=index[part])
            gain[part] = np.take_along_axis(gains, index[part][..., None], -1)[..., 0]
        return index.reshape(-1)[:count], gain.reshape(-1)[:count]


@functools.cache
def _points(book: Codebook, unit: float) -> Points:
    return Points(book, unit)


class _Problem:
    """Weights to be met and a function that says, for a scale of each vector, [vectors, 1], values, indices and signs."""

    def __init__(self, layout: Layout, x: np.ndarray, w: np.ndarray, assign: _Assign) -> None:
        self.layout, self.assign = layout, assign
        self.x, self.w = (a.reshape(-1, SIZE // layout.sub, layout.sub) for a in (x, w))

    def solve(self) -> Match:
        """The match of the least error found."""
        wanted = self.free_scales()
        d = wanted.max(-1) / (2 * self.layout.levels - 1)
        best: Match | None = None
        for _ in range(_ROUNDS):
            match, product, square = self.match(half(d), wanted)
            best = match if best is None else _better(best, match)
            odd = 2 * match.scales + np.float32(1)
            d = (odd * product).sum(-1) * search.inverse((np.square(odd) * square).sum(-1))
            wanted = product * search.inverse(square)
        assert best is not None
        return best

    def free_scales(self) -> np.ndarray:
        """The best scale found for each sub-block by itself, [n, sub-blocks]."""
        size = np.sqrt(np.square(self.x).mean(-1))
        best = gain = np.zeros_like(size)
        for scale in (*(size * np.float32(start) for start in self.layout.starts), None):
            product, square = self.sums(self.vectors(best if scale is None else scale)[0])
            fitted = product * search.inverse(square)
            better = fitted * product > gain
            best, gain = np.where(better, fitted, best), np.where(better, fitted * product, gain)
        return best

    def match(self, d: np.ndarray, wanted: np.ndarray) -> tuple[Match, np.ndarray, np.ndarray]:
        """The match with this d and the scales nearest to those wanted, and the sums of its values."""
        scales = np.clip(np.rint((wanted * search.inverse(d)[:, None] - 1) / 2), 0, self.layout.levels - 1)
        scale = (2 * scales + 1) * d[:, None]
        q, index, signs = self.vectors(scale)
        product, square = self.sums(q)
        error = (scale * (scale * square - 2 * product)).sum(-1)
        return Match(d, scales.astype(np.uint8), index.reshape(len(d), -1), signs.reshape(len(d), -1), error), product, square

    def sums(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The weighted sums of x * q and q * q in each sub-block, [n, sub-blocks]."""
        wq = self.w * q
        return np.einsum("ijk,ijk->ij", wq, self.x), np.einsum("ijk,ijk->ij", wq, q)

    def vectors(self, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values like x, indices and signs of the best vectors for scales [n, sub-blocks]."""
        q, index, signs = self.assign(np.repeat(scale.reshape(-1), self.layout.sub // self.layout.book.width)[:, None])
        return q.reshape(self.x.shape), index, signs


def _better(one: Match, other: Match) -> Match:
    """For each superblock the match of smaller error."""
    pick = other.error < one.error
    return Match(*(np.where(pick if a.ndim == 1 else pick[:, None], b, a) for a, b in zip(_fields(one), _fields(other), strict=True)))


def _fields(match: Match) -> tuple[np.ndarray, ...]:
    return match.d, match.scales, match.index, match.signs, match.error
