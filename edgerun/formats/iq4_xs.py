"""IQ4_XS: 256 weights of 4 bits in 8 sub-blocks of 32, each with a signed scale of 6 bits, where codes stand for the values of
IQ4_NL (ggml-common.h, block_iq4_xs).

Layout of 136 bytes: d f16 | scales_h u16: bits 2s and 2s + 1 are the upper two of scale s | scales_l[4]: nibble s is its lower
four | qs[128]: 16 bytes for each sub-block, as in IQ4_NL. A weight is d * (scale - 32) * VALUES[q].
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import superblock
from edgerun.formats.bits import F16, U16, U32
from edgerun.formats.format import Format
from edgerun.formats.iq4_nl import VALUES
from edgerun.formats.packing import Packing
from edgerun.formats.q4_0 import nibbles


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The block's scale and those of its sub-blocks."""
    rows, n = blocks.shape[:2]
    low = (blocks[..., 4:8, None] >> np.array([0, 4], np.uint8) & 15).reshape(rows, n, 8)
    high = (blocks[..., 2:4].view(U16) >> np.arange(0, 16, 2, dtype=np.uint16) & 3).astype(np.uint8)
    return {"d": blocks[..., :2].view(F16)[..., 0], "scales": (low | high << 4).view(np.int8) - np.int8(32)}


def words(blocks: np.ndarray) -> np.ndarray:
    """The file pairs columns j and j + 16 of each sub-block, as the packing does."""
    return blocks[..., 8:].view(U32)


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 136] -> uint8 [rows, cols]."""
    return nibbles(blocks[..., 8:].reshape(blocks.shape[0], -1, 16))


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Search scales of least weighted squared error."""
    fit, q = superblock.signed(x, importance, sub=32, values=VALUES, levels=32)
    s = (fit.scales + 32).astype(np.uint8)
    high = ((s >> 4).astype(U16) << np.arange(0, 16, 2, dtype=U16)).sum(-1, keepdims=True, dtype=U16).view(np.uint8)
    q = q.reshape(-1, 8, 2, 16)
    qs = (q[:, :, 0] | q[:, :, 1] << 4).reshape(-1, 128)
    parts = (fit.d_bytes, high, s[:, ::2] & 15 | s[:, 1::2] << 4, qs)
    return np.concatenate(parts, -1).reshape(x.shape[0], -1)


FORMAT = Format("IQ4_XS", 23, 256, 136, Packing(bits=4, cols=256, scale="f16*s8", bias=128, table=VALUES, scale_most=32), codes, encode, heads, words)
