"""Q8_0: 32 weights of 8 bits with a scale (ggml-common.h, block_q8_0).

Layout of 34 bytes: d f16 | qs[32] s8. A weight is d * q. Packed codes are unsigned: q + 128, which is the byte with its top bit turned.
"""

from __future__ import annotations

import numpy as np

from edgerun.formats.bits import F16, U32, U64
from edgerun.formats.format import Format
from edgerun.formats.lent import lent
from edgerun.formats.packing import Packing
from edgerun.formats.search import inverse


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The scale of each block."""
    return {"d": blocks[..., :2].view(F16)[..., 0]}


def words(blocks: np.ndarray) -> np.ndarray:
    """The bytes in their order."""
    return codes(blocks).view(U32).reshape(*blocks.shape[:2], 8)


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 34] -> uint8 [rows, cols]."""
    q = blocks[..., 2:].copy().reshape(blocks.shape[0], -1)
    words = q.view(U64)
    words ^= 0x8080808080808080
    return q


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Let the largest weight be 127 and round half away from zero, as quantize_row_q8_0_ref does. Importance changes nothing."""
    if native := lent():
        scale, _, q = native.rounded(x, "whole", 127)
        return np.concatenate([scale.astype(F16)[:, None].view(np.uint8), q], -1).reshape(x.shape[0], -1)
    b = x.reshape(x.shape[0], -1, 32)
    d = np.abs(b).max(-1, keepdims=True) / np.float32(127)
    y = b * inverse(d)
    whole = np.floor(np.abs(y))
    whole += np.abs(y) - whole >= 0.5
    q = np.copysign(whole, y).astype(np.int8).view(np.uint8)
    return np.concatenate([d.astype(F16).view(np.uint8), q], -1).reshape(x.shape[0], -1)


FORMAT = Format("Q8_0", 8, 32, 34, Packing(bits=8, bias=128), codes, encode, heads, words)
