"""How far a model's predictions are from those of a reference, token by token over a text. Knows logits, not where they come from.

The yardstick for a quantized file against its checkpoint, and for fast numerics against exact ones. Everything is computed
in float64, a row at a time: two models may stream their logits past it, and no more than one row of each is held.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgerun.errors import ModelError, UsageError


@dataclass(frozen=True)
class Divergence:
    """Kullback-Leibler divergence of a model from a reference, in nats, over `rows` positions of a text.

    mean, median, p99, max: of the divergences of the positions; 0 where both predict the same. p99: 99 % stay within it.
    same_top: share of the positions at which both hold the same token for the likeliest (of equal ones, the lowest id).
    perplexity_ratio: the model's perplexity on the text over the reference's; 1 where nothing was lost.
    """

    rows: int
    mean: float
    median: float
    p99: float
    max: float
    same_top: float
    perplexity_ratio: float

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
        divergences, same, lost, row = [], 0, 0.0, -1
        for row, (ours, theirs) in enumerate(_pairs(reference, model)):
            p, q = (_log_softmax(logits, row) for logits in (ours, theirs))
            divergences.append(kl(p, q))
            same += int(p.argmax()) == int(q.argmax())
            if row + 1 < len(tokens):
                lost += float(p[tokens[row + 1]] - q[tokens[row + 1]])
        if row + 1 != len(tokens):
            raise UsageError(f"there are logits of {row + 1} tokens for a text of {len(tokens)}")
        figures = np.array(divergences)
        return cls(
            rows=len(figures),
            mean=float(figures.mean()),
            median=float(np.median(figures)),
            p99=float(np.percentile(figures, 99, method="inverted_cdf")),
            max=float(figures.max()),
            same_top=same / len(figures),
            perplexity_ratio=math.exp(min(lost / (len(tokens) - 1), 700.0)),
        )


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


def _log_softmax(logits: np.ndarray, row: int) -> np.ndarray:
    """Log-probabilities, float64 [n]. ModelError when the logits are not numbers."""
    x = logits.astype(np.float64)
    peak = float(x.max())
    if not math.isfinite(peak):   # a NaN is the maximum of what it is in
        raise ModelError(f"the logits of token {row} hold {peak}: the file is damaged, or not meant for this architecture")
    x -= peak
    return x - math.log(float(np.exp(x).sum()))
