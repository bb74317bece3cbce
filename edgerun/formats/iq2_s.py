"""IQ2_S: 256 weights of about 2.6 bits in 16 sub-blocks of 16, from a codebook of 1024 vectors of 8 (ggml-common.h, block_iq2_s).

Layout of 82 bytes: d f16 | qs[32] | signs[32] | qh[8] | scales[8].
Vector k has the index qs[k] and, above it, bits 2 * (k % 4) and the next of byte k / 4 of qh. Bit i of byte k of signs belongs
to weight 8 * k + i. scales: the low nibble of byte i is the scale of sub-block 2 * i, the high one that of the next.
A weight is d * (2 * scale + 1) / 8 * magnitude, negative where its sign is set.
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import matching
from edgerun.formats.bits import F16, U16
from edgerun.formats.codebook import Vectors, odd_scales, scale_nibbles
from edgerun.formats.codebooks import IQ2_S as BOOK
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The block's scale and those of its sub-blocks."""
    return {"d": blocks[..., :2].view(F16)[..., 0], "scales": odd_scales(blocks[..., 74:])}


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 82] -> uint8 [rows, cols]."""
    return BOOK.codes(len(blocks), vectors(blocks))


def words(blocks: np.ndarray) -> np.ndarray:
    """The codes as the packing wants them."""
    return BOOK.merged(len(blocks), vectors(blocks))


def vectors(blocks: np.ndarray) -> Vectors:
    """The indices and signs of uint8 [rows, blocks, 82]."""
    qs = np.ascontiguousarray(blocks[..., 2:34]).reshape(-1, 4)
    qh = blocks[..., 66:74].reshape(-1).astype(U16)
    index = np.stack([(qh << 8 - 2 * k & 768) | qs[:, k] for k in range(4)])
    signs = np.ascontiguousarray(blocks[..., 34:66]).view(U16)
    return Vectors(index, signs.reshape(-1, 2).T)


_LAYOUT = matching.Layout(BOOK, unit=1 / 8, sub=16, levels=16, starts=(0.3, 0.4, 0.5))


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Search vectors and scales of least weighted squared error."""
    match = matching.magnitudes(_LAYOUT, x, importance)
    low, high = match.index.astype(np.uint8), (match.index >> 8).astype(np.uint8)
    qh = high[:, ::4] | high[:, 1::4] << 2 | high[:, 2::4] << 4 | high[:, 3::4] << 6
    return np.concatenate([match.d_bytes, low, match.signs, qh, scale_nibbles(match.scales)], -1).reshape(x.shape[0], -1)


_PACKING = Packing(bits=3, cols=256, sub=16, scale="f16*u8", bias=43, table=BOOK.signed, unit=1 / 8, scale_most=31)
FORMAT = Format("IQ2_S", 22, 256, 82, _PACKING, codes, encode, heads, words)
