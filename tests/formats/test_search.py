from __future__ import annotations

import numpy as np
import pytest
from format_cases import weights
from hypothesis import given
from hypothesis import strategies as st

from edgerun.formats import search, superblock
from edgerun.formats.iq4_nl import VALUES


@pytest.mark.parametrize("values", [range(-8, 8), range(16), VALUES])
@given(x=st.lists(st.floats(-300, 300, width=32), min_size=1, max_size=20))
def test_nearest(values: range | tuple[int, ...], x: list[float]) -> None:
    found = search.nearest_of(values)(np.array(x, np.float32))
    distance = np.abs(np.array(x)[:, None] - np.array(values)).min(-1)
    assert np.array_equal(np.abs(found - np.array(x)), distance)


def test_codes_of() -> None:
    q = np.array([[-127, 113], [1, 1]], np.float32)
    assert search.codes_of(q, VALUES).tolist() == [[0, 8], [15, 8]]


@pytest.mark.parametrize("values", [range(-8, 8), VALUES])
def test_scales_are_near_the_best_of_a_fine_grid(values: range | tuple[int, ...]) -> None:
    x = search.columns(weights(1, 32 * 50), 32)
    w = np.ones_like(x)
    nearest = search.nearest_of(values)

    def error(scale: np.ndarray) -> np.ndarray:
        return ((scale * nearest(x / scale) - x) ** 2).sum(0)

    found = error(search.fit_scale(x, w, values))
    ends = search.largest(x) / values[0], search.largest(x) / values[-1]
    best = np.min([error(end * s) for end in ends for s in np.linspace(0.6, 1.3, 400, dtype=np.float32)], 0)
    assert found.sum() <= 1.06 * best.sum()


@pytest.mark.parametrize("weighed", [False, True])
def test_no_scale_is_better_for_three_values(weighed: bool) -> None:
    x = search.columns(weights(1, 256 * 20), 256)
    w = np.random.default_rng(2).lognormal(0, 1.5, x.shape).astype(np.float32) if weighed else np.ones_like(x)

    def error(scale: np.ndarray) -> np.ndarray:
        return (w * (scale * np.clip(np.rint(x / scale), -1, 1) - x) ** 2).sum(0)

    best = np.min([error(np.abs(x).max(0) * s) for s in np.linspace(0.01, 1, 400, dtype=np.float32)], 0)
    assert (error(search.fit_ternary(x, w)) <= best * 1.0001).all()


@pytest.mark.parametrize("bounded", [True, False])
def test_lines_are_near_the_best_of_a_fine_grid(bounded: bool) -> None:
    x = search.columns(weights(1, 32 * 50), 32)
    w = np.ones_like(x)
    nearest = search.nearest_of(range(16))

    def error(scale: np.ndarray, low: np.ndarray) -> np.ndarray:
        return ((scale * nearest((x - low) / scale) + low - x) ** 2).sum(0)

    scale, low = search.fit_line(x, w, 15, bounded)
    assert not bounded or (low <= 0).all()
    span, start = x.max(0) - x.min(0), x.min(0)
    grid = np.linspace(0, 0.2, 15, dtype=np.float32)
    best = np.min([error(span * (1 - a - b) / 15, start + span * a) for a in grid for b in grid], 0)
    assert error(scale, low).sum() <= 1.03 * best.sum()


def test_superblocks_are_better_than_their_first_guess() -> None:
    x = weights(8, 512)
    fit, q = superblock.ranged(x, None, sub=32, top=15, levels=63)
    assert ((fit.scales >= 0) & (fit.scales <= 63) & (fit.mins >= 0) & (fit.mins <= 63)).all()
    assert np.array_equal(fit.d, fit.d.astype(np.float16))
    low = (fit.m[:, None] * fit.mins)[..., None]
    y = (fit.d[:, None] * fit.scales)[..., None] * q.reshape(-1, 8, 32) - low
    alone = np.stack(search.fit_line(search.columns(x, 32), search.columns(search.error_weights(x, None, 32), 32), 15, True))
    scale, start = (a.reshape(-1, 8, 1) for a in alone)
    b = x.reshape(-1, 8, 32)
    rounded = scale * np.clip(np.rint((b - start) / scale), 0, 15) + start
    assert ((y - b) ** 2).sum() <= 1.03 * ((rounded - b) ** 2).sum(), "quantized scales cost hardly anything"
