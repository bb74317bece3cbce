"""Attention with linear biases, as data (arXiv:2108.12409): the further a key, the less it counts. Knows no file."""

from __future__ import annotations

from edgerun.dataclass import dataclass


@dataclass(frozen=True)
class Alibi:
    """Head h of n loses 2^(-steepest * (h + 1) / n) of a score per position of distance.

    Where n is no power of two, the next lower one takes the part of n, and the heads beyond it take every second slope of
    twice as many heads.
    """

    steepest: float = 8.0

    def slopes(self, heads: int) -> tuple[float, ...]:
        """The slope of each head."""
        whole = 1 << heads.bit_length() - 1
        powers = [(h + 1) / whole for h in range(whole)] + [(2 * h + 1) / (2 * whole) for h in range(heads - whole)]
        return tuple(2.0 ** (-self.steepest * power) for power in powers)
