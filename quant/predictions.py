"""A model's predictions over windows of a text, a row at a time. Knows no file."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from edgerun.engine.session import Session
from edgerun.errors import ModelError
from quant.windows import Window


def rows(session: Session, window: Window) -> Iterator[np.ndarray]:
    """Log-probabilities, float64 [n_vocab], of each position of `window` that counts."""
    position = window.first
    for logits in session.logits(window.tokens, window.first):
        for row in logits[: len(window.tokens) - 1 - position]:
            yield log_softmax(row, position)
            position += 1


def log_softmax(logits: np.ndarray, position: int) -> np.ndarray:
    """Log-probabilities, float64 [n]. ModelError when the logits are not numbers."""
    x = logits.astype(np.float64)
    peak = float(x.max())
    if not math.isfinite(peak):   # a NaN is the maximum of what it is in
        raise ModelError(f"the logits of token {position} hold {peak}: the file is damaged, or not meant for this architecture")
    x -= peak
    return x - math.log(float(np.exp(x).sum()))
