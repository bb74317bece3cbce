"""How far a model's predictions are from those of a reference, token by token over a text. Knows probabilities, not where they come from.

The yardstick for a quantized file against its checkpoint, and for fast numerics against exact ones. Everything is computed
in float64, a row at a time: two models stream their predictions past it, and no more than one row of each is held.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgerun.engine.session import Session
from edgerun.errors import UsageError
from quant.perplexity import Mean, Perplexity
from quant.predictions import log_softmax, rows
from quant.windows import Window


@dataclass(frozen=True)
class Divergence:
    """Kullback-Leibler divergence of a model from a reference, in nats, over `rows` positions of a text.

    mean, median, p99, max: of the divergences of the positions; 0 where both predict the same. p99: 99 % stay within it.
    same_top: share of the positions at which both hold the same token for the likeliest (of equal ones, the lowest id).
    perplexity_ratio: the model's perplexity on the text over the reference's; 1 where nothing was lost. The errors are standard errors.
    """

    rows: int
    mean: float
    mean_error: float
    median: float
    p99: float
    max: float
    same_top: float
    same_top_error: float
    perplexity: Perplexity
    reference_perplexity: Perplexity
    perplexity_ratio: float
    perplexity_ratio_error: float

    @classmethod
    def between(cls, reference: Iterable[np.ndarray], model: Iterable[np.ndarray], tokens: Sequence[int]) -> Divergence:
        """The divergence over a text.

        reference, model: the logits of each of `tokens`, one row after another, floats [n_vocab]: an array [rows, n_vocab]
        will do, and so will a generator whose rows are valid only until the next one.
        UsageError for a text of fewer than two tokens or for another number of rows than tokens, ModelError for logits that
        are not numbers.
        """
        if len(tokens) < 2:
            raise UsageError("a divergence is measured over a text of at least two tokens")
        found, row = Positions(), -1
        for row, (ours, theirs) in enumerate(_pairs(reference, model)):
            found.add(log_softmax(ours, row), log_softmax(theirs, row), tokens[row + 1] if row + 1 < len(tokens) else None)
        if row + 1 != len(tokens):
            raise UsageError(f"there are logits of {row + 1} tokens for a text of {len(tokens)}")
        return found.divergence()


class Positions:
    """What was found at each position so far: a few numbers, whatever the vocabulary. `divergences`: in nats."""

    def __init__(self) -> None:
        self.divergences: list[float] = []
        self._same: list[bool] = []
        self._surprises: tuple[list[float], list[float]] = [], []

    def add(self, p: np.ndarray, q: np.ndarray, following: int | None) -> None:
        """Log-probabilities float64 [n_vocab] of the reference and of the model, and the token that does follow, if any."""
        self.divergences.append(kl(p, q))
        self._same.append(int(p.argmax()) == int(q.argmax()))
        if following is not None:
            for surprises, row in zip(self._surprises, (p, q), strict=True):
                surprises.append(-float(row[following]))

    def divergence(self) -> Divergence:
        """The figures over all positions."""
        kls, mean, same = np.array(self.divergences), Mean.of(self.divergences), Mean.of(self._same)
        reference, model = self._surprises
        with np.errstate(invalid="ignore"):   # what both rule out
            lost = Mean.of(np.subtract(model, reference).tolist())
        ratio = math.exp(min(lost.value, 700.0))
        return Divergence(
            rows=mean.count,
            mean=mean.value,
            mean_error=mean.error,
            median=float(np.median(kls)),
            p99=float(np.percentile(kls, 99, method="inverted_cdf")),
            max=float(kls.max()),
            same_top=same.value,
            same_top_error=same.error,
            perplexity=Perplexity.of(model),
            reference_perplexity=Perplexity.of(reference),
            perplexity_ratio=ratio,
            perplexity_ratio_error=ratio * lost.error,
        )


def compare(reference: Session, model: Session, windows: Iterable[Window]) -> Iterator[Positions]:
    """What was found after each window, over all until then: one and the same object."""
    found = Positions()
    for window in windows:
        for p, q, token in zip(rows(reference, window), rows(model, window), window.targets, strict=True):
            found.add(p, q, token)
        yield found


def kl(p: np.ndarray, q: np.ndarray) -> float:
    """sum of e^p * (p - q) over log-probabilities, both float64 [n]; infinite where q rules out what p does not."""
    possible = p > -math.inf   # what p rules out adds nothing
    p, q = p[possible], q[possible]
    return max(0.0, float(np.exp(p) @ (p - q)))   # rounding may leave a little less than nothing


def _pairs(reference: Iterable[np.ndarray], model: Iterable[np.ndarray]) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Rows of both, in step; UsageError when one has more."""
    try:
        yield from zip(reference, model, strict=True)
    except ValueError as error:
        raise UsageError(f"the two models gave logits of different numbers of tokens ({error})") from None
