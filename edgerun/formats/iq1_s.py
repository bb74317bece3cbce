"""IQ1_S: 256 weights of about 1.6 bits in 8 sub-blocks of 32, from a codebook of 2048 vectors of 8 (ggml-common.h, block_iq1_s).

Layout of 50 bytes: d f16 | qs[32] | qh u16 [8], one for each sub-block: bits 3k to 3k + 2 stand above qs[4 * sub-block + k] to
make the index of its vector k; bits 12 to 14 are the scale; bit 15 says that delta is -1/8, not 1/8.
A weight is d * (2 * scale + 1) * (value + delta), values being -1, 0 and 1.
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import matching
from edgerun.formats.bits import F16, U16
from edgerun.formats.codebook import Vectors
from edgerun.formats.codebooks import IQ1_S as BOOK
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing

TABLE = BOOK.table((-7, 1, 9), (-9, -1, 7))   # eight times a value and its delta


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The block's scale and those of its sub-blocks."""
    high = blocks[..., 35::2]
    return {"d": blocks[..., :2].view(F16)[..., 0], "scales": high >> 3 & 14 | 1}


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 50] -> uint8 [rows, cols]."""
    return BOOK.codes(len(blocks), vectors(blocks))


def words(blocks: np.ndarray) -> np.ndarray:
    """The codes as the packing wants them."""
    return BOOK.merged(len(blocks), vectors(blocks))


def vectors(blocks: np.ndarray) -> Vectors:
    """The indices and signs of uint8 [rows, blocks, 50]."""
    qs = np.ascontiguousarray(blocks[..., 2:34]).reshape(-1, 4)
    qh = np.ascontiguousarray(blocks[..., 34:]).view(U16).reshape(-1)
    index = np.stack([(qh >> 3 * k & 7) << 8 | qs[:, k] for k in range(4)])
    deltas = (qh.view(np.int16) >> 15).view(U16)
    return Vectors(index, np.stack([deltas, deltas]))


_LAYOUT = matching.Layout(BOOK, unit=1, sub=32, levels=8, starts=(1.2,))


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Search vectors and scales of least weighted squared error.

    By importance alone it is less, but the values are too small on the whole, and models are further from what they were (docs/quantization.md).
    """
    match = matching.shifted(_LAYOUT, x, importance, by=1 / 8, shared=4, by_size=2)
    high = (match.index >> 8).astype(U16).reshape(-1, 8, 4)
    qh = high[..., 0] | high[..., 1] << 3 | high[..., 2] << 6 | match.scales.astype(U16) << 12
    qh |= high[..., 3] << 9 | (match.signs[:, ::4] & 1).astype(U16) << 15
    return np.concatenate([match.d_bytes, match.index.astype(np.uint8), qh.view(np.uint8)], -1).reshape(x.shape[0], -1)


_PACKING = Packing(bits=3, cols=256, scale="f16*u8", bias=9, table=TABLE, unit=1 / 8, scale_most=15)
FORMAT = Format("IQ1_S", 19, 256, 50, _PACKING, codes, encode, heads, words)
