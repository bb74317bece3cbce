"""IQ1_M: 256 weights of about 1.75 bits in 16 sub-blocks of 16, from the codebook of IQ1_S (ggml-common.h, block_iq1_m).

Layout of 56 bytes: qs[32] | qh[16] | scales u16 [4].
Nibble k of qh, the low ones of the bytes being the even ones, belongs to vector k: its lower three bits stand above qs[k] to
make the index, its highest says that delta is -1/8, not 1/8. Bits 3i to 3i + 2 of scales[j] are the scale of sub-block
4 * j + i; bits 12 to 15 are bits 4j to 4j + 3 of d, a half float.
A weight is d * (2 * scale + 1) * (value + delta), values being -1, 0 and 1.
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import matching
from edgerun.formats.bits import F16, U16
from edgerun.formats.codebook import Vectors, scale_nibbles
from edgerun.formats.codebooks import IQ1_S as BOOK
from edgerun.formats.format import Format
from edgerun.formats.iq1_s import TABLE
from edgerun.formats.packing import Packing


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The block's scale and those of its sub-blocks."""
    words = np.ascontiguousarray(blocks[..., 48:].view(U16))
    scales = np.empty((*words.shape, 4), np.uint8)
    for i in range(4):
        scales[..., i] = (words >> 3 * i & 7) << 1 | 1
    top = words >> 12
    d = top[..., 0] | top[..., 1] << 4 | top[..., 2] << 8 | top[..., 3] << 12
    return {"d": d.view(F16), "scales": scales.reshape(*blocks.shape[:2], 16)}


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 56] -> uint8 [rows, cols]."""
    return BOOK.codes(len(blocks), vectors(blocks))


def words(blocks: np.ndarray) -> np.ndarray:
    """The codes as the packing wants them."""
    return BOOK.merged(len(blocks), vectors(blocks))


def vectors(blocks: np.ndarray) -> Vectors:
    """The indices and signs of uint8 [rows, blocks, 56]."""
    qs = np.ascontiguousarray(blocks[..., :32]).reshape(-1, 4)
    qh = np.ascontiguousarray(blocks[..., 32:48]).view(U16).reshape(-1)
    index = np.stack([(qh >> 4 * k & 7) << 8 | qs[:, k] for k in range(4)])
    deltas = np.stack([(qh >> at & 1) * 0xFF | (qh >> at + 4 & 1) * 0xFF00 for at in (3, 11)])
    return Vectors(index, deltas)


_LAYOUT = matching.Layout(BOOK, unit=1, sub=16, levels=8, starts=(1.2,))


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Search vectors and scales of least weighted squared error."""
    match = matching.shifted(_LAYOUT, x, importance, by=1 / 8, shared=1)
    high = (match.index >> 8).astype(np.uint8) | match.signs & 8
    scales = match.scales.astype(U16).reshape(-1, 4, 4) << np.arange(0, 12, 3, dtype=U16)
    d = match.d_bytes.view(U16) << np.array([12, 8, 4, 0], U16) & 0xF000
    words = (scales.sum(-1, dtype=U16) | d).view(np.uint8)
    return np.concatenate([match.index.astype(np.uint8), scale_nibbles(high), words], -1).reshape(x.shape[0], -1)


_PACKING = Packing(bits=3, cols=256, sub=16, scale="f16*u8", bias=9, table=TABLE, unit=1 / 8, scale_most=15)
FORMAT = Format("IQ1_M", 29, 256, 56, _PACKING, codes, encode, heads, words)
