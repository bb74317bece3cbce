"""Floats of 4 bits (E2M1), and the search for scales that are floats of 8 bits themselves. Knows no byte layout."""

from __future__ import annotations

import numpy as np

from edgerun.formats import search

VALUES = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)   # ggml-common.h, kvalues_mxfp4: twice the numbers of E2M1
_ASCENDING = sorted(set(VALUES))
_CODES = np.array([VALUES.index(v) for v in _ASCENDING], np.uint8)
_NEAR = range(-2, 2)   # which of the scales around the best of all numbers are tried


def fit(x: np.ndarray, importance: np.ndarray | None, sub: int, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 [rows, cols] -> for each sub-block the byte of its scale, uint8 [rows, subs, 1], and its codes, uint8 [rows, subs, sub].

    scales: what each byte stands for, ascending, as bfloat16. The scale is the one of least weighted squared error.
    """
    b, w = search.columns(x, sub), search.columns(search.error_weights(x, importance, sub), sub)
    nearest, scale_of = search.nearest_of(_ASCENDING), (scales.astype(np.uint32) << 16).view(np.float32)
    guess = np.searchsorted(scale_of, np.abs(search.fit_scale(b, w, _ASCENDING)))
    byte, q, least = np.zeros_like(guess), np.zeros_like(b), np.full(b.shape[1], np.inf, np.float32)
    for step in _NEAR:
        near = np.clip(guess + step, 0, len(scales) - 1)
        d = scale_of[near]
        here = nearest(b * search.inverse(d))
        error = search.dot(w, np.square(here * d - b))
        better = error < least
        byte, q, least = np.where(better, near, byte), np.where(better, here, q), np.where(better, error, least)
    rows = x.shape[0]
    return byte.astype(np.uint8).reshape(rows, -1, 1), _CODES[search.codes_of(q, _ASCENDING)].reshape(rows, -1, sub)
