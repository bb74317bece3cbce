"""F32: weights as they are, 4 bytes each (ggml.h, GGML_TYPE_F32)."""

from __future__ import annotations

import numpy as np

from edgerun.formats.format import Format
from edgerun.formats.packing import Packing


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, cols, 4] -> float32 [rows, cols]."""
    return blocks.view("<f4")[..., 0]


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """float32 [rows, cols] -> its bytes."""
    return x.astype("<f4", copy=False).view(np.uint8)


FORMAT = Format("F32", 0, 1, 4, Packing(kind="f32", cols=1), codes, encode)
