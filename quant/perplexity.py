"""How surprised a model is by a text: the exponential of the mean negative log-likelihood of its tokens. Knows no file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgerun.engine.session import Session
from quant.predictions import rows
from quant.windows import Window


@dataclass(frozen=True)
class Mean:
    """The mean of `count` numbers and its standard error."""

    count: int
    value: float
    error: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Mean:
        """Of any numbers; the error of a single one is infinite."""
        x = np.asarray(numbers, np.float64)
        with np.errstate(invalid="ignore"):   # of infinite numbers
            error = math.sqrt(float(x.var()) / (len(x) - 1)) if len(x) > 1 else math.inf
            return cls(len(x), float(x.mean()), error)


@dataclass(frozen=True)
class Perplexity:
    """Over `tokens` predictions, with the standard error that llama.cpp gives too."""

    tokens: int
    value: float
    error: float

    @classmethod
    def of(cls, surprises: Sequence[float]) -> Perplexity:
        """Of the negative log-likelihoods of tokens, in nats."""
        mean = Mean.of(surprises)
        value = math.exp(min(mean.value, 700.0))
        return cls(mean.count, value, value * mean.error)


def perplexity(session: Session, windows: Iterable[Window]) -> Iterator[Perplexity]:
    """The perplexity after each window, over all until then."""
    surprises: list[float] = []
    for window in windows:
        surprises += [-float(row[token]) for row, token in zip(rows(session, window), window.targets, strict=True)]
        yield Perplexity.of(surprises)
