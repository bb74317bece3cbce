"""NVFP4: 64 weights of 4 bits in 4 sub-blocks of 16, each with a scale of 8 bits (ggml-common.h, block_nvfp4).

Layout of 36 bytes: d[4]: scale of each sub-block | qs[32]: 8 bytes for each sub-block, of which byte j holds weight j (low
nibble) and weight j + 8 (high nibble). A scale of 4 exponent bits E and 3 mantissa bits M is half of (1 + M / 8) * 2^(E - 7),
or of M * 2^-9 where E is 0; its top bit means nothing, but 0x7F is 0. A weight is scale * VALUES[q].
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import fp4
from edgerun.formats.bits import U32
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing
from edgerun.formats.q4_0 import nibbles


def _scales() -> np.ndarray:
    """Every byte's scale as bfloat16: the bits of their floats end in zeros."""
    byte = np.arange(256)
    exponent, mantissa = byte >> 3 & 15, byte & 7
    scale = np.ldexp(np.where(exponent, mantissa + 8, mantissa), np.maximum(exponent, 1) - 11)
    scale[0x7F] = 0
    return (scale.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


_SCALES = _scales()


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The scales of the sub-blocks."""
    return {"d": _SCALES[blocks[..., :4]]}


def words(blocks: np.ndarray) -> np.ndarray:
    """The file pairs columns j and j + 8 of each sub-block, as the packing does."""
    return blocks[..., 4:].view(U32)


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 36] -> uint8 [rows, cols]."""
    return nibbles(blocks[..., 4:].reshape(blocks.shape[0], -1, 8))


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Search scales of least weighted squared error."""
    d, q = fp4.fit(x, importance, 16, _SCALES[:0x7F], near=(0, -1, 1, -2, -3))
    rows = x.shape[0]
    qs = q[..., :8] | q[..., 8:] << 4
    return np.concatenate([d.reshape(rows, -1, 4), qs.reshape(rows, -1, 32)], -1).reshape(rows, -1)


_PACKING = Packing(bits=4, cols=64, sub=16, scale="bf16", bias=12, table=fp4.VALUES)
FORMAT = Format("NVFP4", 40, 64, 36, _PACKING, codes, encode, heads, words, largest=2688.0)
