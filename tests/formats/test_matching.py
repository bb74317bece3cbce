"""The search for vectors of a codebook."""

from __future__ import annotations

import numpy as np
import pytest
from format_cases import every_codebook, nmse, weights

from edgerun.formats import Format, by_name, codebooks, matching
from edgerun.formats.codebook import Codebook, scale_nibbles, sign_words


@pytest.mark.parametrize("book", [codebooks.IQ2_XXS, codebooks.IQ3_S, codebooks.IQ1_S])
@pytest.mark.parametrize("count", [1, 7, 300])
def test_no_vector_is_nearer(book: Codebook, count: int) -> None:
    rng = np.random.default_rng(count)
    x, w = rng.standard_normal((count, book.width)).astype(np.float32), rng.random((count, book.width)).astype(np.float32) + 0.1
    scale = rng.random((count, 1)).astype(np.float32) + 0.1
    points = matching.Points(book, 0.25)
    index, gain = points.nearest(x, w, scale)
    errors = (w[:, None] * (x[:, None] - scale[..., None] * points.values) ** 2).sum(-1)
    found = errors[np.arange(count), index]
    assert np.allclose(found, errors.min(-1), rtol=1e-5, atol=1e-5)
    assert np.allclose((w * x * x).sum(-1) - gain, found, rtol=1e-4, atol=1e-4)


def test_signs_are_made_even_where_it_costs_least() -> None:
    size = np.array([[3, 1, 2, 9, 9, 9, 9, 9], [3, 1, 2, 9, 9, 9, 9, 9]], np.float32)
    negative = np.array([[1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0]], bool)
    w = np.array([[1, 5, 1, 1, 1, 1, 1, 1]] * 2, np.float32)
    matching.make_even(negative, size, w)
    assert negative.astype(int).tolist() == [[1, 1, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0]]
    assert size.tolist() == [[3, 1, -2, 9, 9, 9, 9, 9], [3, 1, 2, 9, 9, 9, 9, 9]]


def test_fields() -> None:
    assert scale_nibbles(np.array([[1, 2, 15, 0]], np.uint8)).tolist() == [[0x21, 0x0F]]
    words = sign_words(np.array([[0x81, 0, 0xFF, 1]], np.uint8), np.array([[9]], np.uint8)).view("<u4")
    assert words.tolist() == [[1 | 0x7F << 14 | 1 << 21 | 9 << 28]]


@every_codebook
def test_columns_that_count_more_are_met_better(fmt: Format) -> None:
    x, importance = weights(16, 512), np.ones(512, np.float32)
    importance[::4] = 100
    plain, weighed = fmt.dequantize(fmt.quantize(x)), fmt.dequantize(fmt.quantize(x, importance))
    assert nmse(weighed[:, ::4], x[:, ::4]) < 0.8 * nmse(plain[:, ::4], x[:, ::4])


@pytest.mark.parametrize(
    ("name", "most"), [("Q3_K", 0.33), ("IQ3_S", 0.445), ("IQ3_XXS", 0.375), ("IQ2_S", 0.465), ("IQ2_XS", 0.4), ("IQ2_XXS", 0.48)]
)
def test_large_weights_count_more_with_importance_too(name: str, most: float) -> None:
    fmt, x = by_name(name), weights(32, 512)
    known, unknown = (fmt.dequantize(fmt.quantize(x, given)) for given in (np.ones(512, np.float32), None))
    large = np.abs(x) > 1.5 * np.sqrt(np.square(x).mean())
    both = [nmse(y[large], x[large]) / nmse(y, x) for y in (known, unknown)]
    assert both[1] < both[0] < most   # by importance alone it is more


def test_large_weights_count_more_in_iq1_s_with_importance_too() -> None:
    fmt, x = by_name("IQ1_S"), weights(64, 1024)
    importance = np.random.default_rng(1).lognormal(0, 1.5, 1024).astype(np.float32)
    y = fmt.dequantize(fmt.quantize(x, importance)).astype(np.float64)
    assert 0.87 < (importance * x * y).sum() / (importance * x * x).sum() < 1   # by importance alone it is 0.84


@every_codebook
def test_one_block_among_zeros(fmt: Format) -> None:
    x = np.zeros((3, 768), np.float32)
    x[1, 256:512] = weights(1, 256)[0]
    y = fmt.dequantize(fmt.quantize(x))
    there = np.zeros_like(x, bool)
    there[1, 256:512] = True
    assert not y[~there].any()
    assert nmse(y, x) < 0.5
