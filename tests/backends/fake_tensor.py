"""Weights in memory that look like tensors of a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FakeTensor:
    """An F32 tensor."""

    name: str
    values: np.ndarray
    type: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def nbytes(self) -> int:
        return self.values.size * 4

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        rows = np.ascontiguousarray(self.values, np.float32).reshape(-1, self.shape[-1])
        return rows[start:stop].view(np.uint8)
