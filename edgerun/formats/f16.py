"""F16: weights of IEEE half precision, 2 bytes each (ggml.h, GGML_TYPE_F16)."""

from __future__ import annotations

import numpy as np

from edgerun.formats.bits import F16
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, cols, 2] -> float16 [rows, cols]."""
    return blocks.view(F16)[..., 0]


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Round to nearest, ties to even; what is beyond 65504 becomes infinity."""
    return x.astype(F16).view(np.uint8)


FORMAT = Format("F16", 1, 1, 2, Packing(kind="f16", cols=1), codes, encode)
