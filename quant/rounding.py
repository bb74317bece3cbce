"""What rounding a matrix to a type does to it: the squared error, weighted by how much each column matters. Knows no model."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from edgerun.backends.executor import Tensor
from edgerun.formats import Format, by_id

_SAMPLE = 1 << 16   # weights of a matrix by which a type is judged
_FEWEST = 16        # rows, however long
_STACK = 8          # matrices of a stack of which these are taken
_SLICE = 1 << 22    # weights worked on at a time


class Sample:
    """Some rows of a matrix, spread over all of it and of its stack; importance: float32 [matrices of the stack, columns], or None."""

    def __init__(self, tensor: Tensor, importance: np.ndarray | None) -> None:
        stack = math.prod(tensor.shape[:-2])
        rows, cols = math.prod(tensor.shape[:-1]) // stack, tensor.shape[-1]
        matrices = _spread(stack, _STACK)
        count = max(_FEWEST, _SAMPLE // cols) // len(matrices)
        source = by_id(tensor.type)
        self._parts = []
        for matrix in matrices:
            raw = np.concatenate([tensor.read(row, row + 1) for row in (matrix * rows + _spread(rows, max(1, count))).tolist()])
            self._parts.append((source.dequantize(raw), None if importance is None else importance[matrix]))
        self.scale = stack * rows / sum(len(x) for x, _ in self._parts)

    def error(self, target: Format) -> float:
        """The weighted squared error of the whole matrix in this type, as far as the rows tell."""
        return self.scale * sum(weighted(target.dequantize(target.quantize(x, weights)) - x, weights) for x, weights in self._parts)


class Noisy:
    """A tensor with white noise on it, in memory, `level` times as large as each row's own root mean square.

    error: the weighted squared error that this made. As a backend sees a tensor.
    """

    def __init__(self, tensor: Tensor, importance: np.ndarray | None, level: float) -> None:
        self.name, self.shape, self.type, self.nbytes = tensor.name, tensor.shape, tensor.type, tensor.nbytes
        self.error = 0.0
        kind, random, parts = by_id(tensor.type), np.random.default_rng(len(tensor.name)), []
        for matrix, start, stop in slices(tensor.shape, _SLICE):
            x = kind.dequantize(tensor.read(start, stop))
            size = level * np.sqrt(np.square(x).mean(1, keepdims=True))
            parts.append(kind.quantize(x + size * random.standard_normal(x.shape, np.float32)))
            self.error += weighted(kind.dequantize(parts[-1]) - x, None if importance is None else importance[matrix])
        self._rows = np.concatenate(parts)

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """See `Tensor.read`."""
        return self._rows[start:stop]


def weighted(errors: np.ndarray, importance: np.ndarray | None) -> float:
    """The sum of squares of float32 [rows, cols], each column's times its importance."""
    squares = np.square(errors).sum(0, dtype=np.float64)
    return float(squares.sum() if importance is None else squares @ importance)


def slices(shape: tuple[int, ...], weights: int) -> Iterator[tuple[int, int, int]]:
    """(matrix of the stack, first row, row behind the last), in rows of all matrices one after another; about `weights` each."""
    rows = shape[-2] if len(shape) > 1 else 1
    step = max(1, weights // shape[-1])
    for matrix in range(math.prod(shape[:-2])):
        for start in range(0, rows, step):
            yield matrix, matrix * rows + start, matrix * rows + min(start + step, rows)


def _spread(count: int, most: int) -> np.ndarray:
    """At most `most` of the numbers below `count`, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))
