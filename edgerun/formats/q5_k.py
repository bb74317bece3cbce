"""Q5_K: 256 weights of 5 bits in 8 sub-blocks of 32, each with a scale and a minimum of 6 bits (ggml-common.h, block_q5_K).

Layout of 176 bytes: d f16 | dmin f16 | scales[12] as in Q4_K | qh[32]: bit s of byte j is the highest bit of weight j of
sub-block s | qs[128]: the lower four bits as in Q4_K. A weight is d * scale * q - dmin * minimum.
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import superblock
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing
from edgerun.formats.q4_k import head_bytes, heads, nibble_bytes, nibbles


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 176] -> uint8 [rows, cols]."""
    q = nibbles(blocks[..., 48:]).reshape(*blocks.shape[:2], 8, 32)
    for s in range(8):
        q[:, :, s] |= (blocks[..., 16:48] >> s & 1) << 4
    return q.reshape(blocks.shape[0], -1)


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Search scales and minima of least weighted squared error."""
    fit, q = superblock.ranged(x, importance, sub=32, top=31, levels=63)
    high = np.packbits(q.reshape(-1, 8, 32) >> 4, axis=1, bitorder="little").reshape(-1, 32)
    return np.concatenate([head_bytes(fit), high, nibble_bytes(q & 15)], -1).reshape(x.shape[0], -1)


FORMAT = Format("Q5_K", 13, 256, 176, Packing(bits=5, cols=256, scale="f16*u8", offset="f16*u8", scale_most=63), codes, encode, heads)
