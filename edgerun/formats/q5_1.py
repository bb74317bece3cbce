"""Q5_1: 32 weights of 5 bits with a scale and a minimum (ggml-common.h, block_q5_1).

Layout of 24 bytes: d f16 | m f16 | qh[4]: bit j is the highest bit of weight j | qs[16]: byte j holds the lower four bits of
weight j (low nibble) and of weight j + 16 (high nibble). A weight is d * q + m.
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import search
from edgerun.formats.bits import F16
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing
from edgerun.formats.q5_0 import five_bit_bytes, five_bits


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The scale and the minimum of each block."""
    dm = blocks[..., :4].view(F16)
    return {"d": dm[..., 0], "m": dm[..., 1]}


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 24] -> uint8 [rows, cols]."""
    return five_bits(blocks[..., 4:8], blocks[..., 8:])


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Spread the codes over the range of each block, as quantize_row_q5_1_ref does; with importance search for the least error."""
    dm, q = search.ranged_blocks(x, importance, 31)
    return np.concatenate([dm.view(np.uint8), five_bit_bytes(q)], -1).reshape(x.shape[0], -1)


FORMAT = Format("Q5_1", 7, 32, 24, Packing(bits=5, offset="f16"), codes, encode, heads)
