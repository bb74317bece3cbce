"""Which tokens survive truncation, and which of them a random number means. Exact, and made for 150,000 logits per token.

Every function gives what sorting all tokens (by logit, then by lower id) and adding up in float64 would give. The work is
avoided by bounds: a threshold that is surely below the k-th logit, a float32 sum that surely decides. In the rare doubt
the float64 sum is made. Knows no parameters' names and no randomness.
"""

from __future__ import annotations

import math

import numpy as np

_COLUMNS = 1024     # of logits whose maxima give the threshold of `largest`; each is a stride through the vocabulary
_SMALL = 8192       # so many float64 exponentials cost little
_ERROR = 1e-5       # float32 sums of exponentials are closer than this, relatively


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """Indices, ascending, of the `count` largest values; of equal ones the first."""
    if count >= values.size:
        return np.arange(values.size)
    pool = np.flatnonzero(values >= _surely_below(values, count))
    chosen = values[pool]
    last = np.partition(chosen, chosen.size - count)[chosen.size - count]
    above = chosen > last
    ties = np.flatnonzero(chosen == last)[: count - np.count_nonzero(above)]
    above[ties] = True
    return pool[above]


def _surely_below(values: np.ndarray, count: int) -> np.float32:
    """A number that at least `count` values reach: the count-th of the maxima of disjoint sets of values, if there are enough."""
    rows = values.size // _COLUMNS
    if count > _COLUMNS // 2 or rows < 2:
        return np.partition(values, values.size - count)[values.size - count]
    maxima = values[: rows * _COLUMNS].reshape(rows, _COLUMNS).max(axis=0)
    return np.partition(maxima, _COLUMNS - count)[_COLUMNS - count]


def nucleus(values: np.ndarray, peak: float, share: float, floor: float) -> np.ndarray:
    """Indices, ascending, of the largest values whose softmax first adds up to `share`, of those not below `floor`.

    share: below 1; peak: the largest value; floor: -inf for none.
    """
    total = _Total(values, peak)
    # below `sure` the weights add up to less than half of what the nucleus may leave out
    sure = peak + math.log((1 - share) * total.sum / (2 * values.size))
    bounds = [sure] if values.size <= _SMALL else [float(_surely_below(values, 256)), sure]
    for bound in bounds:
        pool = np.flatnonzero(values >= max(bound, floor))
        chosen = values[pool]
        reached = np.cumsum(_weights(np.sort(chosen)[::-1], peak))
        if bound <= floor or total.share_reached(reached[-1], share):
            break
    return pool[largest(chosen, min(total.position_of(reached, share) + 1, pool.size))]


class _Total:
    """The sum of all weights: within `_ERROR` at once, in float64 when that leaves a doubt."""

    def __init__(self, values: np.ndarray, peak: float) -> None:
        self._values, self._peak = values, peak
        self._exact = values.size <= _SMALL
        self.sum = self._float64() if self._exact else float(np.exp(values - np.float32(peak)).sum())

    def position_of(self, sums: np.ndarray, share: float) -> int:
        """The first of the ascending sums that reaches share * total, or their number."""
        if not self._exact:
            low, high = np.searchsorted(sums, [share * self.sum * (1 - _ERROR), share * self.sum * (1 + _ERROR)])
            if low == high:
                return int(low)
            self.sum, self._exact = self._float64(), True
        return int(np.searchsorted(sums, share * self.sum))

    def share_reached(self, weight: float, share: float) -> bool:
        """Whether `weight` is surely at least that share of the total."""
        return weight >= share * self.sum * (1 + _ERROR)

    def _float64(self) -> float:
        return float(_weights(self._values, self._peak).sum())


def draw(values: np.ndarray, peak: float, temperature: float, number: float) -> int:
    """The index that `number` in [0, 1) means: softmax(values / temperature), added up in order, first exceeds it there."""
    if values.size > _SMALL and temperature > 1e-3 and (found := _draw_fast(values, peak, temperature, number)) is not None:
        return found
    sums = np.cumsum(_weights(values, peak, temperature))
    return min(int(np.searchsorted(sums, number * sums[-1], side="right")), values.size - 1)


def _draw_fast(values: np.ndarray, peak: float, temperature: float, number: float) -> int | None:
    """As `draw`, from float32 weights; None when their error could matter."""
    width = 256
    weights = np.exp((values - np.float32(peak)) * np.float32(1 / temperature))
    whole = values.size // width * width
    blocks = np.append(weights[:whole].reshape(-1, width).sum(axis=1), weights[whole:].sum())
    sums = np.cumsum(blocks, dtype=np.float64)
    target = number * sums[-1]
    block = min(int(np.searchsorted(sums, target, side="right")), blocks.size - 1)
    before = sums[block] - blocks[block]
    inside = before + np.cumsum(weights[block * width : (block + 1) * width], dtype=np.float64)
    at = int(np.searchsorted(inside, target, side="right"))
    margin = _ERROR * sums[-1]
    low = inside[at - 1] if at else before
    if at == inside.size or target - low < margin or inside[at] - target < margin:
        return None
    return block * width + at


def _weights(values: np.ndarray, peak: float, temperature: float = 1.0) -> np.ndarray:
    with np.errstate(over="ignore"):   # a tiny temperature makes -inf, which is meant
        return np.exp((values.astype(np.float64) - peak) / temperature)
