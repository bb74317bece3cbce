"""Q5_0: 32 weights of 5 bits with a scale (ggml-common.h, block_q5_0).

Layout of 22 bytes: d f16 | qh[4]: bit j is the highest bit of weight j | qs[16]: byte j holds the lower four bits of weight j
(low nibble) and of weight j + 16 (high nibble). A weight is d * (q - 16).
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import search
from edgerun.formats.bits import F16
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing
from edgerun.formats.q4_0 import nibbles


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The scale of each block."""
    return {"d": blocks[..., :2].view(F16)[..., 0]}


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 22] -> uint8 [rows, cols]."""
    return five_bits(blocks[..., 2:6], blocks[..., 6:])


def five_bits(qh: np.ndarray, qs: np.ndarray) -> np.ndarray:
    """The high bits, uint8 [rows, blocks, 4], over the nibbles, uint8 [rows, blocks, 16] -> uint8 [rows, cols]."""
    q = nibbles(qs)
    q |= (np.unpackbits(qh, axis=-1, bitorder="little") << 4).reshape(q.shape)
    return q


def five_bit_bytes(q: np.ndarray) -> np.ndarray:
    """Codes, uint8 [rows, blocks, 32] -> qh and qs, uint8 [rows, blocks, 20]."""
    low = q & 15
    return np.concatenate([np.packbits(q >> 4, axis=-1, bitorder="little"), low[..., :16] | low[..., 16:] << 4], -1)


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Let the largest weight be -16, as quantize_row_q5_0_ref does; with importance search the scale of least error."""
    d, q = search.signed_blocks(x, importance, 16)
    return np.concatenate([d.view(np.uint8), five_bit_bytes(q)], -1).reshape(x.shape[0], -1)


FORMAT = Format("Q5_0", 6, 32, 22, Packing(bits=5, bias=16), codes, encode, heads)
