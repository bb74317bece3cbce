"""Q2_0: 64 weights of 2 bits with one scale (ggml-common.h, block_q2_0).

Layout of 18 bytes: d f16 | qs[16]: weight j is bits 2 * (j % 4) and above of byte j / 4. A weight is d * (q - 1).
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import search
from edgerun.formats.bits import U32, exchange
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing
from edgerun.formats.q4_0 import heads


def words(blocks: np.ndarray) -> np.ndarray:
    """The pairs of bits, so that a byte holds four groups of one column, not four columns of one group."""
    rows, n = blocks.shape[:2]
    halves = np.ascontiguousarray(blocks[..., 2:].view(U32).reshape(rows, n, 2, 2).transpose(3, 2, 0, 1))
    # A pair's place in a sub-block of 8 bytes has the binary digits g2 | g1 g0 c1 c0, which become g0 | c1 c0 g2 g1.
    for shift, mask in ((4, 0x0F0F0F0F), (16, 0xFFFF), (2, 0x33333333), (8, 0x00FF00FF)):
        exchange(halves[0], halves[1], shift, mask)
    return halves.transpose(2, 3, 1, 0)


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 18] -> uint8 [rows, cols]."""
    return (blocks[..., 2:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3).reshape(blocks.shape[0], -1)


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Search scales of least weighted squared error."""
    d, q = search.valued_blocks(x, importance, range(-1, 3), 64)
    q = q.reshape(*q.shape[:2], 16, 4)
    qs = q[..., 0] | q[..., 1] << 2 | q[..., 2] << 4 | q[..., 3] << 6
    return np.concatenate([d.view(np.uint8), qs], -1).reshape(x.shape[0], -1)


FORMAT = Format("Q2_0", 42, 64, 18, Packing(bits=2, cols=64, scale="f16/block", bias=1), codes, encode, heads, words)
