"""What the tests of formats share: every format, and blocks of bytes as a file might hold them."""

from __future__ import annotations

import numpy as np
import pytest

from edgerun.formats import Format, all_formats

FORMATS = sorted(all_formats().values(), key=lambda f: f.id)
CODED = [f for f in FORMATS if f.packing.kind == "code"]
every_format = pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
CODEBOOKS = [f for f in CODED if f.name[:3] in ("IQ1", "IQ2", "IQ3")]
every_coded = pytest.mark.parametrize("fmt", CODED, ids=lambda f: f.name)
every_codebook = pytest.mark.parametrize("fmt", CODEBOOKS, ids=lambda f: f.name)

# Where the half floats of a block are; formats without any have bytes for scales, every one of which is a number.
HALVES = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2),
    "Q5_K": (0, 2), "Q6_K": (208,), "IQ4_NL": (0,), "IQ4_XS": (0,), "F16": (0,), "IQ3_S": (0,), "IQ3_XXS": (0,), "IQ2_S": (0,),
    "IQ2_XS": (0,), "IQ2_XXS": (0,), "IQ1_S": (0,), "IQ1_M": (54,),
    "TQ1_0": (52,), "TQ2_0": (64,), "Q1_0": (0,), "Q2_0": (0,),
}   # fmt: skip


every_halved = pytest.mark.parametrize("fmt", [f for f in CODED if f.name in HALVES], ids=lambda f: f.name)


def rows_of(fmt: Format, rows: int, blocks: int, seed: int = 0) -> np.ndarray:
    """Random bytes with finite scales: uint8 [rows, bytes per row]."""
    raw = np.random.default_rng(seed).integers(0, 256, (rows, blocks, fmt.nbytes), np.uint8)
    for at in HALVES.get(fmt.name, ()):
        raw[..., at + 1] &= 0xBF   # the top bit of the exponent: no infinity, no NaN
    if fmt.packing.kind in ("f32", "bf16"):
        raw[..., -1] &= 0xBF
    return raw.reshape(rows, -1)


def with_scale(fmt: Format, rows: np.ndarray, bits: int) -> np.ndarray:
    """The same rows with every half float of every block replaced."""
    raw = rows.copy().reshape(rows.shape[0], -1, fmt.nbytes)
    if fmt.name == "IQ1_M":   # four bits in the top of each of four words; only the highest are where others have them
        words = raw[..., 48:].view("<u2")
        words[...] = words & 0xFFF | np.array([bits << 12, bits << 8, bits << 4, bits]) & 0xF000
        return raw.reshape(rows.shape)
    for at in HALVES[fmt.name]:
        raw[..., at : at + 2] = np.array([bits], "<u2").view(np.uint8)
    return raw.reshape(rows.shape)


def weights(rows: int, cols: int, seed: int = 0) -> np.ndarray:
    """Numbers as a trained matrix holds them: rows of different size, a few outliers. float32 [rows, cols]."""
    rng = np.random.default_rng(seed)
    return (rng.standard_t(6, (rows, cols)) * rng.lognormal(-3, 0.5, (rows, 1))).astype(np.float32)


def nmse(y: np.ndarray, x: np.ndarray, w: np.ndarray | float = 1.0) -> float:
    """Weighted squared error of y over the weighted square of x."""
    x64 = x.astype(np.float64)
    return float((w * (y - x64) ** 2).sum() / (w * x64**2).sum())
