"""Encoding weights with machine code: the searches of `edgerun/formats`. Knows the words of the kernels, no format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from edgerun.backends.cpu.native import Linked
from edgerun.formats import search

KERNELS = ("encode_line", "encode_round", "encode_scale", "encode_vector", "widen")
_LANES = 16
_KINDS = ("signed", "ranged", "whole")


class Encoder:
    """See `formats/lent.py`. Threads may share it."""

    def __init__(self, linked: Linked) -> None:
        self._line, self._round, self._scale, self._vector, self._widen = (linked.function(name, 2) for name in KERNELS)

    def line(
        self, x: np.ndarray, weights: np.ndarray | None, sub: int, top: int, levels: int, stretch: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """See `Searches.line`."""
        subs = 256 // sub
        own = [_word(top), _word(levels), len(stretch), stretch.ctypes.data]
        heads, codes = _run(self._line, x, weights, 256, sub, 2 + 2 * subs, own)
        return heads[:, 0], heads[:, 1], heads[:, 2 : 2 + subs], heads[:, 2 + subs :], codes

    def scale(
        self, x: np.ndarray, weights: np.ndarray | None, size: int, sub: int, values: Sequence[int], levels: int, stretch: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `Searches.scale`."""
        table = _borders(values)
        own = [_word(values[0]), _word(values[-1]), _word(levels), len(stretch), stretch.ctypes.data, len(table), table.ctypes.data]
        heads, codes = _run(self._scale, x, weights, size, sub, 1 + size // sub, own)
        return heads[:, 0], heads[:, 1:], codes

    def rounded(self, x: np.ndarray, kind: Literal["signed", "ranged", "whole"], top: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `Searches.rounded`."""
        heads, codes = _run(self._round, x, None, 32, 32, 2, [_KINDS.index(kind), _word(top)])
        return heads[:, 0], heads[:, 1], codes

    def vectors(self, x: np.ndarray, w: np.ndarray, scale: np.ndarray, levels: np.ndarray, halves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `Searches.vectors`."""
        count, width = x.shape
        x, w, scale = (np.ascontiguousarray(a, np.float32) for a in (x, w, scale))
        places = (64 * halves).astype(np.int32)
        index, gain = np.empty(count, np.float32), np.empty(count, np.float32)
        read = [x.ctypes.data, w.ctypes.data, scale.ctypes.data, width, len(levels), levels.ctypes.data, len(places), places.ctypes.data]
        args = np.array([*read, index.ctypes.data, gain.ctypes.data], np.int64)
        self._vector(args.ctypes.data, count)
        return index.astype(np.intp), gain

    def floats(self, halves: np.ndarray) -> np.ndarray:
        """See `Searches.floats`."""
        if halves.size < _LANES:
            return halves.astype(np.float32)
        out = np.empty(halves.shape, np.float32)
        args = np.array([halves.ctypes.data, out.ctypes.data], np.int64)
        self._widen(args.ctypes.data, halves.size)
        return out


def _run(
    kernel: Callable[..., int], x: np.ndarray, weights: np.ndarray | None, size: int, sub: int, each: int, own: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Heads, float32 [n, each], and codes, uint8 [n, size]."""
    x = np.ascontiguousarray(x, np.float32)
    count = x.size // size
    codes = np.empty((count, size), np.uint8)
    heads = np.empty((-(-count // _LANES), each, _LANES), np.float32)
    where, different = (0, 1) if weights is None else (weights.ctypes.data, weights.size // size)
    words = [x.ctypes.data, size, sub, where, different, codes.ctypes.data, heads.ctypes.data, *own]
    args = np.array(words, np.int64)
    kernel(args.ctypes.data, count)
    return heads.transpose(0, 2, 1).reshape(-1, each)[:count], codes


def _word(number: float) -> int:
    """A float32 in the low half of a word."""
    return int(np.float32(number).view(np.uint32))


def _borders(values: Sequence[int]) -> np.ndarray:
    """The table of `kernels/encode_scale.py`, float32 [borders, 2]."""
    if len(values) == values[-1] - values[0] + 1:
        return np.empty((0, 2), np.float32)
    levels = search.levels_of(values)
    at = np.flatnonzero(np.diff(levels)) + 1
    return np.stack([at, levels[at] - levels[at - 1]], -1).astype(np.float32)
