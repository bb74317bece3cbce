"""Q4_1: 32 weights of 4 bits with a scale and a minimum (ggml-common.h, block_q4_1).

Layout of 20 bytes: d f16 | m f16 | qs[16]: byte j holds weight j (low nibble) and weight j + 16 (high nibble). A weight is d * q + m.
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import search
from edgerun.formats.bits import F16, U32
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing
from edgerun.formats.q4_0 import nibbles


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The scale and the minimum of each block."""
    dm = blocks[..., :4].view(F16)
    return {"d": dm[..., 0], "m": dm[..., 1]}


def words(blocks: np.ndarray) -> np.ndarray:
    """The file pairs columns j and j + 16, as the packing does."""
    return blocks[..., 4:].view(U32)


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 20] -> uint8 [rows, cols]."""
    return nibbles(blocks[..., 4:])


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Spread the codes over the range of each block, as quantize_row_q4_1_ref does; with importance search for the least error."""
    dm, q = search.ranged_blocks(x, importance, 15, by_size=1)
    return np.concatenate([dm.view(np.uint8), q[..., :16] | q[..., 16:] << 4], -1).reshape(x.shape[0], -1)


FORMAT = Format("Q4_1", 3, 32, 20, Packing(bits=4, offset="f16"), codes, encode, heads, words)
