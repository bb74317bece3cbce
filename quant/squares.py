"""How large the inputs of each matrix are over a text: sums of squares, column by column. Knows no file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from edgerun.errors import ModelError
from edgerun.graph.ops import View
from edgerun.graph.taps import Tap
from quant.source import Source
from quant.windows import Window


class Squares:
    """By the name of a matrix: sums, float64 [matrices of a stack, columns], and how many inputs each is of, float64 [matrices]."""

    def __init__(self) -> None:
        self.of: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def add(self, weights: Iterable[str], sums: np.ndarray, counts: np.ndarray) -> None:
        """Add the sums of some inputs of these matrices. ModelError when they are not numbers."""
        for name in weights:
            if not np.isfinite(sums).all():
                raise ModelError(f"what {name!a} is multiplied with is not finite: the file is damaged, or not meant for this architecture")
            if name not in self.of:
                self.of[name] = np.zeros(sums.shape), np.zeros(counts.shape)
            self.of[name][0][...] += sums
            self.of[name][1][...] += counts


def squares(source: Source, windows: Iterable[Window]) -> Iterator[Squares]:
    """The sums after each window, over all tokens of all until then: one and the same object."""
    found, session = Squares(), source.session
    shapes = {name: tensor.shape for name, tensor in source.file.tensors.items()}
    for window in windows:
        for _ in session.logits(window.tokens):   # of all, so that every row reaches the output matrix
            for tap in source.taps:
                found.add(tap.weights, *_sums(tap, session.executor.read, shapes[tap.weights[0]]))
        session.rewind()
        yield found


def _sums(tap: Tap, read: Callable[[View], np.ndarray], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Of the rows of the latest step: the sums for each matrix of `shape`, and how many inputs it had."""
    x, cols = read(tap.x), shape[-1]
    inputs = np.square(x, dtype=np.float64).reshape(len(x), -1, cols)
    if tap.choice is None:
        return inputs.sum(0), np.full(inputs.shape[1], float(len(x)))
    chosen = read(tap.choice).astype(np.int64)
    inputs = np.broadcast_to(inputs, (*chosen.shape, cols))
    sums, counts = np.zeros((shape[0], cols)), np.bincount(chosen.reshape(-1), minlength=shape[0])
    for matrix in np.flatnonzero(counts):
        sums[matrix] = inputs[chosen == matrix].sum(0)
    return sums, counts.astype(np.float64)
