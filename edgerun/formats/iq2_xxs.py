"""IQ2_XXS: 256 weights of about 2 bits in 8 sub-blocks of 32, from a codebook of 256 vectors of 8 (ggml-common.h, block_iq2_xxs).

Layout of 66 bytes: d f16 | 8 pairs of words u32, one for each sub-block: the bytes of the first are the indices of its vectors;
bits 7k to 7k + 6 of the second are the signs of weights 8 * k to 8 * k + 6, and the next weight's makes their number even;
bits 28 to 31 are the scale. A weight is d * (2 * scale + 1) / 8 * magnitude, negative where its sign is set.
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import matching
from edgerun.formats.bits import F16, U32
from edgerun.formats.codebook import Vectors, even_signs, sign_words
from edgerun.formats.codebooks import IQ2_XXS as BOOK
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The block's scale and those of its sub-blocks."""
    return {"d": blocks[..., :2].view(F16)[..., 0], "scales": blocks[..., 9::8] >> 3 & 30 | 1}


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 66] -> uint8 [rows, cols]."""
    return BOOK.codes(len(blocks), vectors(blocks))


def words(blocks: np.ndarray) -> np.ndarray:
    """The codes as the packing wants them."""
    return BOOK.merged(len(blocks), vectors(blocks))


def vectors(blocks: np.ndarray) -> Vectors:
    """The indices and signs of uint8 [rows, blocks, 66]."""
    pairs = np.ascontiguousarray(blocks[..., 2:]).reshape(-1, 8)
    words = pairs.view(U32)[:, 1]
    return Vectors(pairs[:, :4].T, even_signs(words, words >> 14))


_LAYOUT = matching.Layout(BOOK, unit=1 / 8, sub=32, levels=16, starts=(0.3, 0.4, 0.5))


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Search vectors and scales of least weighted squared error."""
    match = matching.magnitudes(_LAYOUT, x, importance, even=True)
    words = sign_words(match.signs, match.scales).reshape(-1, 8, 4)
    pairs = np.concatenate([match.index.astype(np.uint8).reshape(-1, 8, 4), words], -1).reshape(-1, 64)
    return np.concatenate([match.d_bytes, pairs], -1).reshape(x.shape[0], -1)


_PACKING = Packing(bits=3, cols=256, scale="f16*u8", bias=43, table=BOOK.signed, unit=1 / 8, scale_most=31)
FORMAT = Format("IQ2_XXS", 16, 256, 66, _PACKING, codes, encode, heads, words)
