"""Rounding with feedback, against its definition and against rounding without."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerun.errors import ModelError
from edgerun.formats import Format, all_formats, by_name
from quant.gptq import Feedback, round_to, takes

TAKEN = [f for f in sorted(all_formats().values(), key=lambda f: f.id) if takes(f)]
every_taken = pytest.mark.parametrize("fmt", TAKEN, ids=lambda f: f.name)


def problem(rows: int, cols: int, seed: int, samples: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and X^T X of inputs of which some columns go together: float32 [rows, cols], [cols, cols]."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples or 4 * cols, cols)) @ (rng.standard_normal((cols, cols)) * rng.lognormal(0, 1, (cols, 1)))
    return (rng.standard_normal((rows, cols)) * 0.05).astype(np.float32), (x.T @ x).astype(np.float32)


def loss(fmt: Format, made: np.ndarray, x: np.ndarray, gram: np.ndarray) -> float:
    """trace(E H E^T)."""
    e = fmt.dequantize(made).astype(np.float64) - x
    return float(((e @ gram) * e).sum())


def test_types_that_take_it() -> None:
    assert {f.name for f in TAKEN} == {
        "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4", "NVFP4",
    }  # fmt: skip


@every_taken
def test_inputs_that_have_nothing_in_common_leave_the_search_as_it_is(fmt: Format) -> None:
    x, _ = problem(9, 512, 1)
    alone = Feedback.of(np.eye(512))
    assert not alone.by.any()
    made, plain = round_to(fmt, x, alone), fmt.quantize(x, np.ones(512, np.float32))
    if fmt.name == "Q8_0":   # llama.cpp's rounding divides before the scale is cut to a half float
        assert np.abs(fmt.dequantize(made) - fmt.dequantize(plain)).max() <= 1.01 * np.abs(x).max() / 127
    else:
        assert np.array_equal(fmt.dequantize(made), fmt.dequantize(plain))


@every_taken
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1 << 20), blocks=st.integers(1, 3))
def test_the_error_is_smaller(fmt: Format, seed: int, blocks: int) -> None:
    x, gram = problem(8, 256 * blocks, seed)
    made, plain = round_to(fmt, x, Feedback.of(gram)), fmt.quantize(x, np.diag(gram).copy())
    assert loss(fmt, made, x, gram) < 0.8 * loss(fmt, plain, x, gram)


def test_it_is_what_the_paper_does() -> None:
    """Columns one by one, what they owe taken off all that are left, by the Cholesky factor of the inverse."""
    fmt, (x, gram) = by_name("Q8_0"), problem(6, 32, 5)
    scale = np.float32(0.25)
    x[:, 0] = scale * 127   # the largest of each block, so that every scale is the same
    own = np.diag(gram).astype(np.float64)
    h = 0.9 * gram.astype(np.float64) + np.diag(0.1 * own + 0.01 * own.mean())
    upper = np.linalg.cholesky(np.linalg.inv(h)).T
    left, expected = x.astype(np.float64), np.empty((6, 32))
    for j in range(32):
        expected[:, j] = scale * np.clip(np.rint(left[:, j] / scale), -127, 127)
        left[:, j:] -= np.outer((left[:, j] - expected[:, j]) / upper[j, j], upper[j, j:])
    assert np.abs(expected[:, 1:]).max() > 0   # though the weights themselves are all smaller than half a step
    assert np.array_equal(fmt.dequantize(round_to(fmt, x, Feedback.of(gram, 0.9))), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    gram = np.eye(32)
    gram[3, 5] = value
    with pytest.raises(ModelError, match="not finite"):
        Feedback.of(gram)


def test_what_no_inputs_have_is_refused() -> None:
    with pytest.raises(ModelError, match="no sums of squares"):
        Feedback.of(np.diag([1.0] * 31 + [-1e9]))


@every_taken
def test_dead_columns_few_inputs_and_none(fmt: Format) -> None:
    x, gram = problem(5, 256, 3, samples=10)   # of rank 10
    gram[:, 7] = gram[7] = 0
    for some in (gram, np.zeros_like(gram)):
        y = fmt.dequantize(round_to(fmt, x, Feedback.of(some)))
        assert np.isfinite(y).all()
        assert np.abs(y - x).max() < 4 * np.abs(x).max()
    assert loss(fmt, round_to(fmt, x, Feedback.of(gram)), x, gram) < loss(fmt, fmt.quantize(x, np.diag(gram).copy()), x, gram)


def test_what_rounding_made_of_a_gram_is_repaired() -> None:
    """A matrix of rank 1 in float32 has eigenvalues a little below zero."""
    v = np.random.default_rng(2).lognormal(0, 4, 200).astype(np.float32)
    assert np.isfinite(Feedback.of(np.outer(v, v)).by).all()
    assert np.isfinite(Feedback.of(np.outer(v, v) - np.float32(1e-3) * np.diag(v * v)).by).all()


@every_taken
def test_rows_do_not_depend_on_each_other(fmt: Format) -> None:
    x, gram = problem(12, 512, 4)
    feedback = Feedback.of(gram)
    parts = np.concatenate([round_to(fmt, x[:5], feedback), round_to(fmt, x[5:], feedback)])
    whole = round_to(fmt, x, feedback)
    # Sums of another order round differently; a code may then differ here and there, the loss does not.
    assert (parts == whole).mean() > 0.98
    assert loss(fmt, parts, x, gram) == pytest.approx(loss(fmt, whole, x, gram), rel=0.02)
