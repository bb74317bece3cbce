"""What matrices are multiplied with over a text: sums of the products of any two columns, X^T X. Knows no file and no use for them.

Inputs are taken at the same length, whichever token they are of, except that those of the first count more. A model parks on its first
token the attention that it has no use for (arXiv:2309.17453), and what that token leaves behind is hundreds of times larger or smaller
than that of others: as they are, its inputs would hide all others in some matrices, and be lost in those of keys and values, which every
later token reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from edgerun.graph.ops import View
from edgerun.graph.taps import Tap
from quant.source import Source
from quant.windows import Window

Key = tuple[str, int]   # (the first of the matrices that a tap feeds, which have all inputs in common; number in its stack)

FIRST = 8.0   # length of an input of the first token of a window; the others' is 1
ROWS = 512   # inputs that are gathered before they are multiplied: a product of few rows would cost more to add than to make


class Gram:
    """X^T X of the inputs X, float32 [cols, cols], or its diagonal alone, [cols]."""

    def __init__(self, cols: int, whole: bool) -> None:
        self._sums = np.zeros((cols, cols) if whole else cols, np.float32)
        self._rows = np.empty((ROWS, cols), np.float32)
        self._held = 0

    @staticmethod
    def nbytes(cols: int, whole: bool) -> int:
        """Bytes that one takes."""
        return 4 * cols * ((cols if whole else 1) + ROWS)

    def add(self, x: np.ndarray) -> None:
        """Some more inputs, float32 [n, cols]."""
        while len(x):
            some = x[: ROWS - self._held]
            self._rows[self._held : self._held + len(some)] = some
            self._held += len(some)
            x = x[len(some) :]
            if self._held == ROWS:
                self._multiply()

    def sums(self) -> np.ndarray:
        """What it is of all inputs so far."""
        self._multiply()
        return self._sums

    def _multiply(self) -> None:
        x = self._rows[: self._held]
        with np.errstate(all="ignore"):   # what is not finite is found by those who use it
            self._sums += x.T @ x if self._sums.ndim == 2 else np.einsum("ij,ij->j", x, x)
        self._held = 0


def grams(source: Source, windows: Iterable[Window], wanted: Mapping[Key, bool], pool: ThreadPoolExecutor) -> Iterator[dict[Key, Gram]]:
    """Those of the matrices `wanted`, True for the whole of it, over all tokens of all windows until then: one and the same object."""
    shapes = {name: tensor.shape for name, tensor in source.file.tensors.items()}
    found = {key: Gram(shapes[key[0]][-1], whole) for key, whole in wanted.items()}
    session, firsts = source.session, {name for name, _ in wanted}
    taps = [tap for tap in source.taps if tap.weights[0] in firsts]

    begins = True

    def add(tap: Tap) -> None:
        for matrix, x in inputs(tap, session.executor.read, shapes[tap.weights[0]], begins):
            if (tap.weights[0], matrix) in found:
                found[tap.weights[0], matrix].add(x)

    for window in windows:
        begins = True
        for _ in session.logits(window.tokens):   # of all, so that every row reaches the output matrix
            for _ in pool.map(add, taps):
                pass
            begins = False
        session.rewind()
        yield found


def inputs(tap: Tap, read: Callable[[View], np.ndarray], shape: tuple[int, ...], begins: bool) -> Iterator[tuple[int, np.ndarray]]:
    """What each matrix of `shape`, by its number in the stack, is multiplied with in the latest step, at the length where it counts
    for as much as it should: float32 [n, cols]. begins: whether the first row is of the first token."""
    x = read(tap.x)
    x = x.reshape(len(x), -1, shape[-1])
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    length[length == 0] = 1
    length[:1] /= FIRST if begins else 1
    x = x / length
    if tap.choice is None:
        yield from ((matrix, x[:, matrix]) for matrix in range(x.shape[1]))
        return
    chosen = read(tap.choice).astype(np.int64)
    x = np.broadcast_to(x, (*chosen.shape, shape[-1]))
    yield from ((int(matrix), x[chosen == matrix]) for matrix in np.unique(chosen))
