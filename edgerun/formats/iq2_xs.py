"""IQ2_XS: 256 weights of about 2.3 bits in 16 sub-blocks of 16, from a codebook of 512 vectors of 8 (ggml-common.h, block_iq2_xs).

Layout of 74 bytes: d f16 | qs u16 [32] | scales[8].
qs: the lower 9 bits are the index of a vector, the upper 7 the signs of its first weights; the last one's makes their number
even. scales: the low nibble of byte i is the scale of sub-block 2 * i, the high one that of the next.
A weight is d * (2 * scale + 1) / 8 * magnitude, negative where its sign is set.
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import matching
from edgerun.formats.bits import F16, U16
from edgerun.formats.codebook import Vectors, even_signs, odd_scales, scale_nibbles
from edgerun.formats.codebooks import IQ2_XS as BOOK
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The block's scale and those of its sub-blocks."""
    return {"d": blocks[..., :2].view(F16)[..., 0], "scales": odd_scales(blocks[..., 66:])}


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 74] -> uint8 [rows, cols]."""
    return BOOK.codes(len(blocks), vectors(blocks))


def words(blocks: np.ndarray) -> np.ndarray:
    """The codes as the packing wants them."""
    return BOOK.merged(len(blocks), vectors(blocks))


def vectors(blocks: np.ndarray) -> Vectors:
    """The indices and signs of uint8 [rows, blocks, 74]."""
    qs = np.ascontiguousarray(blocks[..., 2:66]).view(U16).reshape(-1, 4)
    sevens = (qs[:, k] >> 9 | qs[:, k + 1] >> 9 << 7 for k in (0, 2))
    return Vectors((qs & 511).T, even_signs(*sevens))


_LAYOUT = matching.Layout(BOOK, unit=1 / 8, sub=16, levels=16, starts=(0.3, 0.4, 0.5))


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Search vectors and scales of least weighted squared error."""
    match = matching.magnitudes(_LAYOUT, x, importance, even=True)
    qs = (match.index.astype(U16) | (match.signs & 127).astype(U16) << 9).view(np.uint8)
    return np.concatenate([match.d_bytes, qs, scale_nibbles(match.scales)], -1).reshape(x.shape[0], -1)


_PACKING = Packing(bits=3, cols=256, sub=16, scale="f16*u8", bias=43, table=BOOK.signed, unit=1 / 8, scale_most=31)
FORMAT = Format("IQ2_XS", 17, 256, 74, _PACKING, codes, encode, heads, words)
