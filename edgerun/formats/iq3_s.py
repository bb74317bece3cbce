"""IQ3_S: 256 weights of about 3.4 bits in 8 sub-blocks of 32, from a codebook of 512 vectors of 4 (ggml-common.h, block_iq3_s).

Layout of 110 bytes: d f16 | qs[64] | qh[8] | signs[32] | scales[4].
Vector j of the block has the index qs[j] and, as its ninth bit, bit j % 8 of byte j / 8 of qh. Bit i of byte k of signs belongs
to weight 8 * k + i. scales: the low nibble of byte i is the scale of sub-block 2 * i, the high one that of the next.
A weight is d * (2 * scale + 1) * magnitude, negative where its sign is set.
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import matching
from edgerun.formats.bits import F16, U16
from edgerun.formats.codebook import Vectors, odd_scales, scale_nibbles
from edgerun.formats.codebooks import IQ3_S as BOOK
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The block's scale and those of its sub-blocks."""
    return {"d": blocks[..., :2].view(F16)[..., 0], "scales": odd_scales(blocks[..., 106:])}


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 110] -> uint8 [rows, cols]."""
    return BOOK.codes(len(blocks), vectors(blocks))


def words(blocks: np.ndarray) -> np.ndarray:
    """The codes as the packing wants them."""
    return BOOK.merged(len(blocks), vectors(blocks))


def vectors(blocks: np.ndarray) -> Vectors:
    """The indices and signs of uint8 [rows, blocks, 110]."""
    index = np.unpackbits(blocks[..., 66:74], axis=-1, bitorder="little").astype(U16)
    index <<= 8
    index |= blocks[..., 2:66]
    signs = np.ascontiguousarray(blocks[..., 74:106]).view(U16)
    return Vectors(index.reshape(-1, 8).T, signs.reshape(-1, 2).T)


_LAYOUT = matching.Layout(BOOK, unit=1, sub=32, levels=16, starts=(0.12, 0.15, 0.18))


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Search vectors and scales of least weighted squared error."""
    match = matching.magnitudes(_LAYOUT, x, importance)
    qh = np.packbits((match.index >> 8).astype(bool), axis=-1, bitorder="little")
    parts = (match.d_bytes, match.index.astype(np.uint8), qh, match.signs, scale_nibbles(match.scales))
    return np.concatenate(parts, -1).reshape(x.shape[0], -1)


_PACKING = Packing(bits=4, cols=256, scale="f16*u8", bias=15, table=BOOK.signed, scale_most=31)
FORMAT = Format("IQ3_S", 21, 256, 110, _PACKING, codes, encode, heads, words)
