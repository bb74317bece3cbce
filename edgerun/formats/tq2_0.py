"""TQ2_0: 256 weights of 2 bits with one scale, for ternary models (ggml-common.h, block_tq2_0).

Layout of 66 bytes: qs[64] | d f16. Weight 32 * f + i of each half of 128 weights is bits 2f and 2f + 1 of byte i of the half's
32 bytes of qs. A weight is d * (q - 1); encoders write q = 0, 1 and 2.
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import search
from edgerun.formats.bits import F16, U32, U64, transpose_fields
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing
from edgerun.formats.q2_k import pair_bytes, pairs


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The scale of each block."""
    return {"d": blocks[..., 64:].view(F16)[..., 0]}


def words(blocks: np.ndarray) -> np.ndarray:
    """The pairs of bits, so that each sub-block's stand together."""
    rows, n = blocks.shape[:2]
    # 32 bytes are four sub-blocks, 32 weights apart: eight bytes g, field f of the file are eight bytes f, field g of the packing.
    result = np.ascontiguousarray(blocks[..., :64].view(U64).reshape(rows, n, 2, 4).transpose(3, 2, 0, 1))
    transpose_fields(result, 2)
    return result.view(U32).reshape(4, 2, rows, n, 2).transpose(2, 3, 1, 0, 4)


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 66] -> uint8 [rows, cols]."""
    return pairs(blocks[..., :64]).reshape(blocks.shape[0], -1)


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Find the scale of least weighted squared error; weights that are ternary stay as they are."""
    d, q = search.valued_blocks(x, importance, search.TERNARY, 256)
    qs = pair_bytes(q.reshape(-1, 2, 4, 32)).reshape(*q.shape[:2], 64)
    return np.concatenate([qs, d.view(np.uint8)], -1).reshape(x.shape[0], -1)


FORMAT = Format("TQ2_0", 35, 256, 66, Packing(bits=2, cols=256, scale="f16/block", bias=1), codes, encode, heads, words)
