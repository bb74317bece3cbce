"""The divergence against its definition, on made-up logits."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgerun.errors import ModelError, UsageError
from quant.divergence import Divergence, kl

TOKENS = [3, 1, 4, 1, 5, 0]


def logits(seed: int, rows: int = len(TOKENS), n_vocab: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, n_vocab)).astype(np.float32) * 3


def probabilities(rows: np.ndarray) -> np.ndarray:
    e = np.exp(rows.astype(np.float64))
    return e / e.sum(1, keepdims=True)


def test_the_definition() -> None:
    a, b = logits(1), logits(2)
    p, q = probabilities(a), probabilities(b)
    per_row = (p * np.log(p / q)).sum(1)
    found = Divergence.between(a, b, TOKENS)
    assert found.rows == len(TOKENS)
    assert found.mean == pytest.approx(per_row.mean(), rel=1e-12)
    assert found.median == pytest.approx(np.median(per_row), rel=1e-12)
    assert found.p99 == pytest.approx(np.sort(per_row)[math.ceil(0.99 * len(TOKENS)) - 1], rel=1e-12)
    assert found.max == pytest.approx(per_row.max(), rel=1e-12)
    assert found.same_top == (p.argmax(1) == q.argmax(1)).mean()
    ours, theirs = (math.exp(-np.log([row[t] for row, t in zip(x, TOKENS[1:], strict=False)]).mean()) for x in (p, q))
    assert found.perplexity_ratio == pytest.approx(theirs / ours, rel=1e-12)


def test_errors_are_standard_errors() -> None:
    a, b = logits(20, 500), logits(21, 500)
    tokens = np.random.default_rng(22).integers(0, 40, 500).tolist()
    p, q = (np.log(probabilities(x)) for x in (a, b))
    lost = np.array([p[i, t] - q[i, t] for i, t in enumerate(tokens[1:])])
    per_row, same = (np.exp(p) * (p - q)).sum(1), p.argmax(1) == q.argmax(1)
    found = Divergence.between(a, b, tokens)
    assert found.mean_error == pytest.approx(per_row.std(ddof=1) / math.sqrt(500), rel=1e-9)
    assert found.same_top_error == pytest.approx(same.std(ddof=1) / math.sqrt(500), rel=1e-9)
    assert found.perplexity_ratio_error == pytest.approx(found.perplexity_ratio * lost.std(ddof=1) / math.sqrt(499), rel=1e-9)


def test_a_worked_example() -> None:
    """Halves against a quarter and three quarters: log 2 - log(3) / 2."""
    a, b = np.zeros((2, 2)), np.log([[0.25, 0.75]] * 2)
    found = Divergence.between(a, b, [0, 1])
    assert found.mean == found.median == found.max == pytest.approx(math.log(2) - math.log(3) / 2, rel=1e-14)
    assert found.perplexity_ratio == pytest.approx(2 / 3)


def test_the_same_model_has_not_diverged() -> None:
    a = logits(3)
    found = Divergence.between(a, a.copy(), TOKENS)
    assert (found.mean, found.mean_error, found.median, found.p99, found.max) == (0, 0, 0, 0, 0)
    assert (found.same_top, found.same_top_error, found.perplexity_ratio, found.perplexity_ratio_error) == (1, 0, 1, 0)
    assert found.perplexity == found.reference_perplexity


@given(hnp.arrays(np.float32, (4, 9), elements=st.floats(-50, 50, width=32)), st.floats(-1e3, 1e3))
def test_what_the_softmax_does_not_see_does_not_count(rows: np.ndarray, shift: float) -> None:
    found = Divergence.between(rows, rows.astype(np.float64) + shift, [0, 1, 2, 3])
    assert 0 <= found.max < 1e-12
    assert found.perplexity_ratio == pytest.approx(1)


@given(*[hnp.arrays(np.float64, 7, elements=st.floats(-30, 0)) for _ in range(2)])
def test_it_is_never_negative(p: np.ndarray, q: np.ndarray) -> None:
    p, q = (x - np.log(np.exp(x).sum()) for x in (p, q))
    assert kl(p, q) >= 0


def test_rows_may_be_valid_only_until_the_next() -> None:
    """Two streams that write every row into the same memory, as an executor does."""

    def stream(rows: np.ndarray) -> Iterator[np.ndarray]:
        room = np.empty(rows.shape[1], np.float32)
        for row in rows:
            room[:] = row
            yield room

    a, b = logits(4), logits(5)
    assert Divergence.between(stream(a), stream(b), TOKENS) == Divergence.between(a, b, TOKENS)


def test_the_logits_stay_as_they_are() -> None:
    a, b = logits(6), logits(7).astype(np.float64)
    before = a.copy(), b.copy()
    Divergence.between(a, b, TOKENS)
    assert all(np.array_equal(x, y) for x, y in zip((a, b), before, strict=True))


def test_tokens_that_are_ruled_out() -> None:
    a, b = logits(8), logits(8)
    a[:, 7] = b[:, 7] = -np.inf
    assert Divergence.between(a, b, TOKENS).max == 0
    a[0, 7] = 0.0   # the model gives no chance to what the reference does
    assert Divergence.between(a, b, TOKENS).max == math.inf
    assert math.isfinite(Divergence.between(b, a, TOKENS).max)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_numbers_are_refused(bad: float) -> None:
    a, b = logits(9), logits(10)
    b[2, 5] = bad
    with pytest.raises(ModelError, match="logits of token 2"):
        Divergence.between(a, b, TOKENS)


@pytest.mark.parametrize(("rows", "tokens", "message"), [
    (slice(0), [], "at least two tokens"),
    (slice(1), [1], "at least two tokens"),
    (slice(4), TOKENS, "of 4 tokens for a text of 6"),
    (slice(6), TOKENS[:5], "of 6 tokens for a text of 5"),
])
def test_rows_and_tokens_must_agree(rows: slice, tokens: list[int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Divergence.between(logits(11)[rows], logits(12)[rows], tokens)


def test_both_models_must_have_as_many_rows() -> None:
    with pytest.raises(UsageError, match="different numbers of tokens"):
        Divergence.between(logits(13), logits(14)[:-1], TOKENS)
