"""Searches in machine code, where a backend has lent some: they give the bits of `search.py` and `superblock.py`. Knows no backend.

So no byte depends on whether any are lent, but for codebooks: of two vectors that are equally near but for rounding, it may be the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol

import numpy as np


class Searches(Protocol):
    """Of n blocks of `size` weights, x being float32 of as many: codes uint8 [n, size], and what they are multiplied with.

    weights: float32 [columns], or like x, how much errors count; None: as `search.error_weights` has it. stretch: what is tried, float32.
    """

    def line(
        self, x: np.ndarray, weights: np.ndarray | None, sub: int, top: int, levels: int, stretch: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """`superblock.ranged`: d and m [n], scales and mins [n, sub-blocks], codes."""

    def scale(
        self, x: np.ndarray, weights: np.ndarray | None, size: int, sub: int, values: Sequence[int], levels: int, stretch: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`superblock.signed`: d [n], scales [n, sub-blocks], codes; with 0 levels `search.valued_blocks`."""

    def rounded(self, x: np.ndarray, kind: Literal["signed", "ranged", "whole"], top: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Blocks of 32 as Q4_0, Q4_1 and Q8_0 round them: d and low float32 [n], codes."""

    def vectors(self, x: np.ndarray, w: np.ndarray, scale: np.ndarray, levels: np.ndarray, halves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`matching.Points.nearest` for a multiple of 16 runs: up to rounding, as its product of matrices has no order of its own."""

    def floats(self, halves: np.ndarray) -> np.ndarray:
        """float16 as float32, of the same shape; a NaN of any kind becomes a quiet one, as it does in llama.cpp."""


_lent: list[Searches] = []


def lent() -> Searches | None:
    """What there is at this moment."""
    return _lent[-1] if _lent else None


@contextmanager
def lending(searches: Searches) -> Iterator[None]:
    """Let all encoders use them meanwhile."""
    _lent.append(searches)
    try:
        yield
    finally:
        _lent.remove(searches)
