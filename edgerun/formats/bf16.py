"""BF16: the upper half of a float32, 2 bytes (ggml.h, GGML_TYPE_BF16)."""

from __future__ import annotations

import numpy as np

from edgerun.formats.bits import U16, U32
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, cols, 2] -> the bits, uint16 [rows, cols]."""
    return blocks.view(U16)[..., 0]


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Round to nearest, ties to even; a NaN stays one and becomes quiet (ggml_compute_fp32_to_bf16)."""
    bits = x.view(U32)
    rounded = (bits + (0x7FFF + (bits >> 16 & 1))) >> 16
    quiet = bits >> 16 | 64
    return np.where(np.isnan(x), quiet, rounded).astype(U16).view(np.uint8)


FORMAT = Format("BF16", 30, 1, 2, Packing(kind="bf16", cols=1), codes, encode)
