"""Q3_K: 256 weights of 3 bits in 16 sub-blocks of 16, each with a signed scale of 6 bits (ggml-common.h, block_q3_K).

Layout of 110 bytes: hmask[32]: bit b of byte i is the highest bit of weight 32 * b + i | qs[64]: the lower two bits, as in Q2_K |
scales[12] | d f16. scales: nibble s (the low ones of bytes 0-7, then the high ones) is the lower four bits of scale s; bits
2 * (s / 4) and above of byte 8 + s % 4 are its upper two. A weight is d * (scale - 32) * (q - 4).
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import superblock
from edgerun.formats.bits import F16, U32
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing
from edgerun.formats.q2_k import pair_bytes, pairs


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The block's scale and those of its sub-blocks."""
    rows, n = blocks.shape[:2]
    a, b, top = np.ascontiguousarray(np.moveaxis(blocks[..., 96:108].view(U32), -1, 0))
    scales = np.empty((rows, n, 4), U32)
    for i, (low, high) in enumerate(((a, top << 4), (b, top << 2), (a >> 4, top), (b >> 4, top >> 2))):
        scales[..., i] = low & 0x0F0F0F0F | high & 0x30303030
    return {"d": blocks[..., 108:].view(F16)[..., 0], "scales": scales.view(np.int8) - np.int8(32)}


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 110] -> uint8 [rows, cols]."""
    rows, n = blocks.shape[:2]
    high = blocks[..., None, :32] >> np.arange(8, dtype=np.uint8)[:, None] & 1
    return (pairs(blocks[..., 32:96]) | high.reshape(rows, n, 2, 4, 32) << 2).reshape(rows, -1)


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Search scales of least weighted squared error."""
    fit, q = superblock.signed(x, importance, sub=16, values=range(-4, 4), levels=32, by_size=1)
    s = (fit.scales + 32).astype(np.uint8)
    high = (s >> 4).reshape(-1, 4, 4)
    scales = (s[:, :8] & 15 | (s[:, 8:] & 15) << 4, high[:, 0] | high[:, 1] << 2 | high[:, 2] << 4 | high[:, 3] << 6)
    mask = np.packbits(q.reshape(-1, 8, 32) >> 2, axis=1, bitorder="little").reshape(-1, 32)
    qs = pair_bytes(q.reshape(-1, 2, 4, 32) & 3)
    return np.concatenate([mask, qs, *scales, fit.d_bytes], -1).reshape(x.shape[0], -1)


FORMAT = Format("Q3_K", 11, 256, 110, Packing(bits=3, cols=256, sub=16, scale="f16*s8", bias=4, scale_most=32), codes, encode, heads)
