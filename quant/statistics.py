"""What an importance matrix says of each matrix, in a few figures. Knows mean squares only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from quant.importance import Importance

_TOP = 0.01   # share of the columns whose part of the whole is told


@dataclass(frozen=True)
class Statistics:
    """Of the mean squares of one matrix's inputs, those of a stack taken together.

    total: their sum: the mean squared length of an input. share: of the totals of all matrices. evenness: entropy of the columns over that of
    equal ones, 1 where all matter alike, 0 where one does alone. top: the part of the total in the 1 % largest columns (one at least);
    largest: the column that holds most.
    """

    name: str
    columns: int
    total: float
    share: float
    evenness: float
    top: float
    largest: int


def statistics(importance: Importance) -> Iterator[Statistics]:
    """One for each matrix, in the order of the file."""
    means = {name: importance[name].astype(np.float64).mean(0) for name in importance}
    whole = sum(float(x.sum()) for x in means.values())
    for name, x in means.items():
        total, count = float(x.sum()), len(x)
        p = x[x > 0] / total if total else np.ones(1)
        entropy = float(-(p * np.log(p)).sum()) / math.log(count) if count > 1 else 1.0
        top = np.sort(x)[-max(1, round(_TOP * count)) :].sum() / total if total else 0.0
        yield Statistics(name, count, total, total / whole if whole else 0.0, entropy, float(top), int(x.argmax()))
