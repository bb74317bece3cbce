"""Q2_K: 256 weights of 2 bits in 16 sub-blocks of 16, each with a scale and a minimum of 4 bits (ggml-common.h, block_q2_K).

Layout of 84 bytes: scales[16]: scale (low nibble) and minimum (high nibble) of each sub-block | qs[64] | d f16 | dmin f16.
Weight 32 * f + i of each half of 128 weights is bits 2f and 2f + 1 of byte i of the half's 32 bytes of qs.
A weight is d * scale * q - dmin * minimum.
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import superblock
from edgerun.formats.bits import F16, U32, transpose_fields
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The block's scale and minimum and those of its sub-blocks."""
    dm = blocks[..., 80:].view(F16)
    return {"d": dm[..., 0], "m": dm[..., 1], "scales": blocks[..., :16] & 15, "mins": blocks[..., :16] >> 4}


def words(blocks: np.ndarray) -> np.ndarray:
    """The pairs of bits, so that each sub-block's stand together."""
    rows, n = blocks.shape[:2]
    # 16 bytes are four sub-blocks, 32 weights apart: word g, field f of the file is word f, field g of the packing.
    result = np.ascontiguousarray(blocks[..., 16:80].view(U32).reshape(rows, n, 2, 2, 4).transpose(4, 2, 3, 0, 1))
    transpose_fields(result, 2)
    return result.transpose(3, 4, 1, 0, 2)


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 84] -> uint8 [rows, cols]."""
    return pairs(blocks[..., 16:80]).reshape(blocks.shape[0], -1)


def pairs(qs: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 64] -> the pairs of bits, uint8 [rows, blocks, 2, 4, 32]."""
    return qs.reshape(*qs.shape[:2], 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8)[:, None] & 3


def pair_bytes(q: np.ndarray) -> np.ndarray:
    """Codes below 4, uint8 [blocks, 2, 4, 32] -> qs, uint8 [blocks, 64]."""
    return (q[:, :, 0] | q[:, :, 1] << 2 | q[:, :, 2] << 4 | q[:, :, 3] << 6).reshape(-1, 64)


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Search scales and minima of least weighted squared error."""
    fit, q = superblock.ranged(x, importance, sub=16, top=3, levels=15)
    scales = fit.scales.astype(np.uint8) | fit.mins.astype(np.uint8) << 4
    return np.concatenate([scales, pair_bytes(q.reshape(-1, 2, 4, 32)), fit.d_bytes, fit.m_bytes], -1).reshape(x.shape[0], -1)


_PACKING = Packing(bits=2, cols=256, sub=16, scale="f16*u8", offset="f16*u8", scale_most=15)
FORMAT = Format("Q2_K", 10, 256, 84, _PACKING, codes, encode, heads, words)
