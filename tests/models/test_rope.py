"""Frequencies against the formulas of the papers, worked out by hand."""

import math

import numpy as np
import pytest

from edgerun.models.components import LinearScaling, Rope, YarnScaling


def test_plain_frequencies() -> None:
    assert Rope(4, 10000.0, "halves").frequencies() == pytest.approx((1.0, 0.01), rel=1e-7)
    assert Rope(4, 10000.0, "halves").magnitude() == 1.0


def test_frequencies_are_float32_numbers() -> None:
    frequencies = Rope(64, 500000.0, "halves").frequencies()
    assert frequencies == tuple(float(np.float32(f)) for f in frequencies)


def test_linear_scaling_divides_all() -> None:
    assert Rope(4, 10000.0, "halves", LinearScaling(4.0)).frequencies() == pytest.approx((0.25, 0.0025), rel=1e-7)


def test_divisors_divide_each() -> None:
    assert Rope(4, 10000.0, "halves", divisors=(1.0, 8.0)).frequencies() == pytest.approx((1.0, 0.00125), rel=1e-7)


def test_yarn_keeps_fast_pairs_and_interpolates_slow_ones() -> None:
    width, base, context, factor = 64, 10000.0, 2048, 8.0
    plain = Rope(width, base, "halves").frequencies()
    scaled = Rope(width, base, "halves", YarnScaling(factor, context)).frequencies()
    # Pair p turns context * base^(-2p/width) / 2 pi times: 32 turns at p = 8.1, one at 20.1; whole pairs: 8 and 21.
    for p, (before, after) in enumerate(zip(plain, scaled, strict=True)):
        slow = min(1, max(0, (p - 8) / (21 - 8)))
        assert after == pytest.approx(before * (1 - slow) + before / factor * slow, rel=1e-6)
    assert Rope(width, base, "halves", YarnScaling(factor, context)).magnitude() == pytest.approx(1 + 0.1 * math.log(8))


def test_attention_factor_multiplies_the_magnitude() -> None:
    assert Rope(4, 100.0, "halves", attention_factor=1.5).magnitude() == 1.5
    assert Rope(4, 100.0, "halves", YarnScaling(4.0, 64), attention_factor=2.0).magnitude() == pytest.approx(2 + 0.2 * math.log(4))


@pytest.mark.parametrize("context", [1, 7, 1 << 31])
@pytest.mark.parametrize("beta", [1e-30, 1e30])
def test_yarn_stays_finite_at_its_bounds(context: int, beta: float) -> None:
    rope = Rope(8, 1.001, "halves", YarnScaling(1e6, context, beta, beta))
    assert all(math.isfinite(f) for f in rope.frequencies())
