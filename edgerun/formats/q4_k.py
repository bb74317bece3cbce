"""Q4_K: 256 weights of 4 bits in 8 sub-blocks of 32, each with a scale and a minimum of 6 bits (ggml-common.h, block_q4_K).

Layout of 144 bytes: d f16 | dmin f16 | scales[12] | qs[128].
scales: byte j < 4 holds scale j, byte 4 + j minimum j (6 bits each); byte 8 + j holds the lower four bits of scale 4 + j (low
nibble) and of minimum 4 + j (high nibble), whose upper two bits are the upper two of bytes j and 4 + j.
qs: 32 bytes for each two sub-blocks: the low nibbles are the first one's weights, the high nibbles the second one's.
A weight is d * scale * q - dmin * minimum.
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import superblock
from edgerun.formats.bits import F16, QUAD, U32, U64, transpose_fields
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing
from edgerun.formats.superblock import Superblock


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The block's scale and minimum and those of its sub-blocks."""
    rows = blocks.shape[0]
    dm = blocks[..., :4].view(F16)
    words = np.ascontiguousarray(np.moveaxis(blocks[..., 4:16].view(U32), -1, 0))
    both = np.empty((2, *blocks.shape[:2], 2), U32)   # scales, minima: 8 bytes for each block
    for i, nibble in ((0, words[2]), (1, words[2] >> 4)):
        both[i, ..., 0] = words[i] & 0x3F3F3F3F
        both[i, ..., 1] = (words[i] >> 2 & 0x30303030) | (nibble & 0x0F0F0F0F)
    scales, mins = both.view(np.uint8).reshape(2, rows, -1)
    return {"d": dm[..., 0], "m": dm[..., 1], "scales": scales, "mins": mins}


def words(blocks: np.ndarray) -> np.ndarray:
    """The nibbles, so that each sub-block's stand together."""
    rows, n = blocks.shape[:2]
    # Of 32 bytes, the first half's high nibbles change places with the second half's low ones.
    halves = np.ascontiguousarray(blocks[..., 16:].view(QUAD).reshape(rows, n, 4, 2).transpose(3, 2, 0, 1))
    transpose_fields(halves.view(U64), 4)
    return halves.view(U32).reshape(2, 4, rows, n, 4).transpose(2, 3, 1, 0, 4)


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 144] -> uint8 [rows, cols]."""
    return nibbles(blocks[..., 16:])


def nibbles(qs: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 128] -> uint8 [rows, cols]: of each 32 bytes the low nibbles, then the high ones."""
    qs = qs.reshape(*qs.shape[:2], 4, 32)
    q = np.empty((*qs.shape[:3], 2, 32), np.uint8)
    np.bitwise_and(qs, 15, out=q[..., 0, :])
    np.right_shift(qs, 4, out=q[..., 1, :])
    return q.reshape(qs.shape[0], -1)


def nibble_bytes(q: np.ndarray) -> np.ndarray:
    """Codes below 16, uint8 [..., 256] -> qs, uint8 [..., 128]."""
    pairs = q.reshape(*q.shape[:-1], 4, 2, 32)
    return (pairs[..., 0, :] | pairs[..., 1, :] << 4).reshape(*q.shape[:-1], 128)


def head_bytes(fit: Superblock) -> np.ndarray:
    """d, dmin and the 6-bit scales and minima -> uint8 [blocks, 16]."""
    s, m = fit.scales.astype(np.uint8), fit.mins.astype(np.uint8)
    scales = (s[:, :4] | s[:, 4:] >> 4 << 6, m[:, :4] | m[:, 4:] >> 4 << 6, s[:, 4:] & 15 | m[:, 4:] << 4)
    return np.concatenate([fit.d_bytes, fit.m_bytes, *scales], -1)


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Search scales and minima of least weighted squared error."""
    fit, q = superblock.ranged(x, importance, sub=32, top=15, levels=63)
    return np.concatenate([head_bytes(fit), nibble_bytes(q)], -1).reshape(x.shape[0], -1)


FORMAT = Format("Q4_K", 12, 256, 144, Packing(bits=4, cols=256, scale="f16*u8", offset="f16*u8", scale_most=63), codes, encode, heads, words)
