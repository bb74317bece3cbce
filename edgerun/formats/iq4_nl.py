"""IQ4_NL: 32 weights of 4 bits with a scale, where codes stand for 16 uneven values (ggml-common.h, block_iq4_nl).

Layout of 18 bytes: d f16 | qs[16]: byte j holds weight j (low nibble) and weight j + 16 (high nibble). A weight is
d * VALUES[q].
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import search
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing
from edgerun.formats.q4_0 import codes, heads, words

VALUES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)   # ggml-common.h, kvalues_iq4nl


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Search scales of least weighted squared error."""
    d, q = search.valued_blocks(x, importance, VALUES)
    return np.concatenate([d.view(np.uint8), q[..., :16] | q[..., 16:] << 4], -1).reshape(x.shape[0], -1)


FORMAT = Format("IQ4_NL", 20, 32, 18, Packing(bits=4, bias=128, table=VALUES), codes, encode, heads, words)
