"""IQ3_XXS: 256 weights of about 3 bits in 8 sub-blocks of 32, from a codebook of 256 vectors of 4 (ggml-common.h, block_iq3_xxs).

Layout of 98 bytes: d f16 | qs[64]: the index of each vector | 8 words u32, one for each sub-block: bits 7k to 7k + 6 are the
signs of its weights 8 * k to 8 * k + 6, and the next weight's makes their number even; bits 28 to 31 are the scale.
A weight is d * (2 * scale + 1) / 4 * magnitude, negative where its sign is set.
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import matching
from edgerun.formats.bits import F16, U32
from edgerun.formats.codebook import Vectors, even_signs, sign_words
from edgerun.formats.codebooks import IQ3_XXS as BOOK
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The block's scale and those of its sub-blocks."""
    return {"d": blocks[..., :2].view(F16)[..., 0], "scales": blocks[..., 69::4] >> 3 & 30 | 1}


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 98] -> uint8 [rows, cols]."""
    return BOOK.codes(len(blocks), vectors(blocks))


def words(blocks: np.ndarray) -> np.ndarray:
    """The codes as the packing wants them."""
    return BOOK.merged(len(blocks), vectors(blocks))


def vectors(blocks: np.ndarray) -> Vectors:
    """The indices and signs of uint8 [rows, blocks, 98]."""
    index = np.ascontiguousarray(blocks[..., 2:66]).reshape(-1, 8)
    words = np.ascontiguousarray(blocks[..., 66:]).view(U32).reshape(-1)
    return Vectors(index.T, even_signs(words, words >> 14))


_LAYOUT = matching.Layout(BOOK, unit=1 / 4, sub=32, levels=16, starts=(0.12, 0.15, 0.18))


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Search vectors and scales of least weighted squared error."""
    match = matching.magnitudes(_LAYOUT, x, importance, even=True)
    words = sign_words(match.signs, match.scales)
    return np.concatenate([match.d_bytes, match.index.astype(np.uint8), words], -1).reshape(x.shape[0], -1)


_PACKING = Packing(bits=4, cols=256, scale="f16*u8", bias=62, table=BOOK.signed, unit=1 / 4, scale_most=31)
FORMAT = Format("IQ3_XXS", 18, 256, 98, _PACKING, codes, encode, heads, words)
