"""Q1_0: 128 weights of 1 bit with one scale, for binary models (ggml-common.h, block_q1_0).

Layout of 18 bytes: d f16 | qs[16]: bit j is weight j. A weight is d where the bit is set, else -d.
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import search
from edgerun.formats.bits import F16, U32, swap_index_bits
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing
from edgerun.formats.q4_0 import heads


def words(blocks: np.ndarray) -> np.ndarray:
    """The bits reordered: of 32, bit 4 * group + column goes to bit `group` of byte `column`."""
    result = blocks[..., 2:].view(U32).copy()
    # Digits of a bit's number, g2 g1 g0 c1 c0, become c1 c0 g2 g1 g0.
    for high, low in ((4, 1), (3, 0), (2, 1), (1, 0)):
        swap_index_bits(result, high, low)
    return result


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 18] -> uint8 [rows, cols]."""
    return np.unpackbits(blocks[..., 2:], axis=-1, bitorder="little").reshape(blocks.shape[0], -1)


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """The scale is the mean of the magnitudes, as in quantize_row_q1_0_ref; with importance the weighted mean."""
    rows, size = x.shape[0], search.columns(np.abs(x), 128)
    w = np.ones_like(size)
    if importance is not None and importance.any():
        w *= np.tile(importance.reshape(-1, 128).T, rows)
    d = (w * size).sum(0) * search.inverse(w.sum(0))
    qs = np.packbits(x.reshape(rows, -1, 128) >= 0, axis=-1, bitorder="little")
    return np.concatenate([d.astype(F16).reshape(rows, -1, 1).view(np.uint8), qs], -1).reshape(rows, -1)


FORMAT = Format("Q1_0", 41, 128, 18, Packing(bits=1, cols=128, scale="f16/block", bias=1, table=(-1, 1)), codes, encode, heads, words)
