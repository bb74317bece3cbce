"""MXFP4: 32 weights of 4 bits with a power of two for scale, the OCP microscaling format (ggml-common.h, block_mxfp4).

Layout of 17 bytes: e u8 | qs[16]: byte j holds weight j (low nibble) and weight j + 16 (high nibble). A weight is
2^(e - 128) * VALUES[q]: the values are twice those of the standard, whose scale is 2^(e - 127).
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import fp4
from edgerun.formats.bits import U32
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing
from edgerun.formats.q4_0 import nibbles

# 2^(e - 128) as bfloat16, whose exponent is e - 1: the two smallest are subnormal.
_SCALES = np.array([0x20, 0x40, *(e - 1 << 7 for e in range(2, 256))], np.uint16)


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The scale of each block."""
    return {"d": _SCALES[blocks[..., 0]]}


def words(blocks: np.ndarray) -> np.ndarray:
    """The file pairs columns j and j + 16, as the packing does."""
    return blocks[..., 1:].view(U32)


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 17] -> uint8 [rows, cols]."""
    return nibbles(blocks[..., 1:])


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Search scales of least weighted squared error."""
    e, q = fp4.fit(x, importance, 32, _SCALES, near=(0, -1))
    return np.concatenate([e, q[..., :16] | q[..., 16:] << 4], -1).reshape(x.shape[0], -1)


FORMAT = Format("MXFP4", 39, 32, 17, Packing(bits=4, scale="bf16", bias=12, table=fp4.VALUES), codes, encode, heads, words)
