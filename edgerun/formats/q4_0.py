"""Q4_0: 32 weights of 4 bits with a scale (ggml-common.h, block_q4_0).

Layout of 18 bytes: d f16 | qs[16]: byte j holds weight j (low nibble) and weight j + 16 (high nibble). A weight is d * (q - 8).
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import search
from edgerun.formats.bits import F16, U32
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The scale of each block."""
    return {"d": blocks[..., :2].view(F16)[..., 0]}


def words(blocks: np.ndarray) -> np.ndarray:
    """The file pairs columns j and j + 16, as the packing does."""
    return blocks[..., 2:].view(U32)


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 18] -> uint8 [rows, cols]."""
    return nibbles(blocks[..., 2:])


def nibbles(qs: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, n] -> uint8 [rows, cols]: the low nibbles of a block, then the high ones."""
    q = np.empty((*qs.shape[:2], 2, qs.shape[2]), np.uint8)
    np.bitwise_and(qs, 15, out=q[:, :, 0])
    np.right_shift(qs, 4, out=q[:, :, 1])
    return q.reshape(qs.shape[0], -1)


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Let the largest weight be -8, as quantize_row_q4_0_ref does; with importance search the scale of least error."""
    d, q = search.signed_blocks(x, importance, 8, by_size=3)
    return np.concatenate([d.view(np.uint8), q[..., :16] | q[..., 16:] << 4], -1).reshape(x.shape[0], -1)


FORMAT = Format("Q4_0", 2, 32, 18, Packing(bits=4, bias=8), codes, encode, heads, words)
