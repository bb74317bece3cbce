"""Floats of 4 bits (E2M1), and the search for scales that are floats of 8 bits themselves. Knows no byte layout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgerun.formats import search

VALUES = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)   # ggml-common.h, kvalues_mxfp4: twice the numbers of E2M1
_ASCENDING = sorted(set(VALUES))
_CODES = np.array([VALUES.index(v) for v in _ASCENDING], np.uint8)


def fit(x: np.ndarray, importance: np.ndarray | None, sub: int, scales: np.ndarray, near: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """float32 [rows, cols] -> for each sub-block the byte of its scale, uint8 [rows, subs, 1], and its codes, uint8 [rows, subs, sub].

    scales: what each byte stands for, ascending, as bfloat16. The scale is the one of least weighted squared error out of those
    `near` the smallest with which the largest weight can be said.
    """
    b, w = search.columns(x, sub), search.columns(search.error_weights(x, importance, sub), sub)
    nearest, scale_of = search.nearest_of(_ASCENDING), (scales.astype(np.uint32) << 16).view(np.float32)
    least_scale = np.searchsorted(scale_of, np.abs(b).max(0) / _ASCENDING[-1])
    byte, q, least = np.zeros_like(least_scale), np.zeros_like(b), np.full(b.shape[1], np.inf, np.float32)
    for step in near:
        tried = np.clip(least_scale + step, 0, len(scales) - 1)
        d = scale_of[tried]
        here = nearest(b * search.inverse(d))
        r = here * d
        r -= b
        error = search.dot(w, np.square(r, out=r))
        better = error < least
        byte, least = np.where(better, tried, byte), np.where(better, error, least)
        np.copyto(q, here, where=better)
    rows = x.shape[0]
    return byte.astype(np.uint8).reshape(rows, -1, 1), _CODES[search.codes_of(q, _ASCENDING)].reshape(rows, -1, sub)
