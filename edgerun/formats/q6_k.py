"""Q6_K: 256 weights of 6 bits in 16 sub-blocks of 16, each with a signed scale of 8 bits (ggml-common.h, block_q6_K).

Layout of 210 bytes: ql[128] | qh[64] | scales[16] s8 | d f16.
Each half of 128 weights has 64 bytes of ql and 32 of qh. Of weight j = 32 * f + i of a half, the lower four bits are a nibble
(low for j < 64, else high) of ql[j % 64], the upper two are bits 2f and 2f + 1 of qh[i]. A weight is d * scale * (q - 32).
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import superblock
from edgerun.formats.bits import F16
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing
from edgerun.formats.q2_k import pair_bytes, pairs


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The block's scale and those of its sub-blocks."""
    return {"d": blocks[..., 208:].view(F16)[..., 0], "scales": blocks[..., 192:208].view(np.int8)}


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 210] -> uint8 [rows, cols]."""
    rows, n = blocks.shape[:2]
    low = blocks[..., :128].reshape(rows, n, 2, 1, 64) >> np.array([0, 4], np.uint8)[:, None] & 15
    return (low.reshape(rows, n, 2, 4, 32) | pairs(blocks[..., 128:192]) << 4).reshape(rows, -1)


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Search scales of least weighted squared error."""
    fit, q = superblock.signed(x, importance, sub=16, values=range(-32, 32), levels=128)
    q = q.reshape(-1, 2, 4, 32)
    low = q & 15
    ql = low[:, :, :2] | low[:, :, 2:] << 4
    blocks = (ql.reshape(-1, 128), pair_bytes(q >> 4), fit.scales.astype(np.int8).view(np.uint8), fit.d_bytes)
    return np.concatenate(blocks, -1).reshape(x.shape[0], -1)


FORMAT = Format("Q6_K", 14, 256, 210, Packing(bits=6, cols=256, sub=16, scale="f16*s8", bias=32, scale_most=128), codes, encode, heads)
