"""Where the numbers of a tensor go. Views wherever possible: on a tensor without content they give the new shape for nothing.

A move is a function of (array, Config) that changes no number. Knows no family.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from quant.convert.config import Config
from quant.convert.family import Move

Count = Callable[[Config], int]   # how many there are, by config.json


def neighbours(heads: Count) -> Move:
    """Rows of q or k, of so many heads, so that the rope turns neighbours instead of halves."""

    def move(x: np.ndarray, c: Config) -> np.ndarray:
        n = heads(c)
        return x.reshape(n, 2, x.shape[0] // n // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)

    return move


def as_it_is(x: np.ndarray, c: Config) -> np.ndarray:
    """All numbers where they are."""
    return x


def transposed(x: np.ndarray, c: Config) -> np.ndarray:
    """Columns as rows; nothing for a vector."""
    return x.T


def part(index: int, of: int) -> Move:
    """One of equal parts of the rows."""
    return lambda x, c: x.reshape(of, x.shape[0] // of, *x.shape[1:])[index]


def every(first: int, step: int, turn: bool = False) -> Move:
    """Every `step`th row from `first` on; turn: of the transposed matrix."""
    return lambda x, c: (x.T if turn else x)[first::step]


def half_of_columns(index: int) -> Move:
    """One half of the columns, transposed."""
    return lambda x, c: x.T.reshape(2, x.shape[1] // 2, x.shape[0])[index]


def without_middle(x: np.ndarray, c: Config) -> np.ndarray:
    """[rows, 1, columns] as a matrix: the kernels of a convolution by channel."""
    return x.reshape(x.shape[0], x.shape[-1]) if x.ndim > 1 else x


def column(x: np.ndarray, c: Config) -> np.ndarray:
    """A vector as a matrix of one column."""
    return x.reshape(*x.shape, 1)


def by_kind(groups: Count) -> Move:
    """Rows in groups of (some queries, one key, one value): all queries, then all keys, then all values."""

    def move(x: np.ndarray, c: Config) -> np.ndarray:
        n, g = c.heads, groups(c)
        rows = x.reshape(g, n // g + 2, x.shape[0] // (n + 2 * g), *x.shape[1:])
        kinds = (rows[:, :-2], rows[:, -2:-1], rows[:, -1:])
        return np.concatenate([kind.reshape(-1, *x.shape[1:]) for kind in kinds])

    return move


def keeps_rows(move: Move | None, rows: int, c: Config) -> bool:
    """Whether a move takes whole rows elsewhere: then it does so with a matrix of one column too."""
    return move is None or _one_column(move, (rows, 1), c)


def turns_columns(move: Move, columns: int, c: Config) -> bool:
    """Whether a move makes rows of columns: then it makes a column of one row."""
    return _one_column(move, (1, columns), c)


def _one_column(move: Move, shape: tuple[int, int], c: Config) -> bool:
    try:
        result = move(np.zeros(shape, np.bool_), c).shape
    except (ValueError, IndexError, ZeroDivisionError):
        return False
    return len(result) == 2 and result[1] == 1 and result[0] > 0
