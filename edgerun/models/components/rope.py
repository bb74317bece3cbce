"""Rotary position embedding and the ways to stretch it over longer contexts, as data. Knows no file.

Frequencies are computed in float64 and rounded to float32, the precision in which checkpoints were trained.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import replace
from typing import Literal

from edgerun.dataclass import dataclass
from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import View

Pairing = Literal["neighbours", "halves"]


@dataclass(frozen=True)
class LinearScaling:
    """Position interpolation (arXiv:2306.15595): every frequency is divided by factor."""

    factor: float

    @property
    def magnitude(self) -> float:
        """Factor of cos and sin."""
        return 1.0

    def stretch(self, frequencies: list[float], base: float) -> list[float]:
        """The frequencies after scaling."""
        return [f / self.factor for f in frequencies]


@dataclass(frozen=True)
class YarnScaling:
    """YaRN (arXiv:2309.00071): slow pairs are interpolated by factor, fast ones stay, a ramp lies between.

    A pair is fast when it turns more than beta_fast times within `context` positions, slow below beta_slow. attention:
    factor of cos and sin, None for the paper's 1 + ln(factor) / 10. rounded: the ends of the ramp are whole pairs.
    """

    factor: float
    context: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention: float | None = None
    rounded: bool = True

    @property
    def magnitude(self) -> float:
        """Factor of cos and sin."""
        return 1 + 0.1 * math.log(self.factor) if self.attention is None else self.attention

    def stretch(self, frequencies: list[float], base: float) -> list[float]:
        """The frequencies after scaling."""
        width = 2 * len(frequencies)

        def pair(turns: float) -> float:
            return width * math.log(self.context / (turns * 2 * math.pi)) / (2 * math.log(base))

        low, high = pair(self.beta_fast), pair(self.beta_slow)
        if self.rounded:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(0, low), min(width - 1, high)
        span = max(0.001, high - low)
        result = []
        for p, f in enumerate(frequencies):
            slow = min(1.0, max(0.0, (p - low) / span))
            result.append(f * (1 - slow) + f / self.factor * slow)
        return result


@dataclass(frozen=True)
class LongScaling:
    """LongRoPE (arXiv:2402.13753): each frequency is divided by its own `short`, in sequences of more than `context` tokens by `long`."""

    short: tuple[float, ...]
    long: tuple[float, ...]
    context: int

    @property
    def magnitude(self) -> float:
        """Factor of cos and sin."""
        return 1.0

    def stretch(self, frequencies: list[float], base: float) -> list[float]:
        """The frequencies in sequences of up to `context` tokens."""
        return [f / d for f, d in zip(frequencies, self.short, strict=True)]

    def stretch_long(self, frequencies: list[float]) -> list[float]:
        """The frequencies in longer ones."""
        return [f / d for f, d in zip(frequencies, self.long, strict=True)]


@dataclass(frozen=True)
class Rope:
    """Rotation of the first `width` columns of every head (arXiv:2104.09864); pairing as in `ops.Rope`.

    divisors: one per pair, of its frequency (Llama 3 files hold them as rope_freqs.weight). attention_factor: further
    factor of cos and sin.
    """

    width: int
    base: float
    pairing: Pairing
    scaling: LinearScaling | YarnScaling | LongScaling | None = None
    divisors: tuple[float, ...] | None = None
    attention_factor: float = 1.0

    def frequencies(self) -> tuple[float, ...]:
        """Radians per position of each pair."""
        plain = self._plain()
        return tuple(array("f", self.scaling.stretch(plain, self.base) if self.scaling else plain))

    def magnitude(self) -> float:
        """Factor of cos and sin."""
        return self.attention_factor * (self.scaling.magnitude if self.scaling else 1.0)

    def emit(self, b: Builder, x: View, heads: int) -> None:
        """Rotate `heads` heads in place."""
        op = ops.Rope(x, heads, self.frequencies(), self.pairing, self.magnitude())
        if isinstance(self.scaling, LongScaling):
            op = replace(op, long=tuple(array("f", self.scaling.stretch_long(self._plain()))), context=self.scaling.context)
        b.add(op)

    def _plain(self) -> list[float]:
        """The frequencies before scaling."""
        result = [self.base ** (-2 * p / self.width) for p in range(self.width // 2)]
        return [f / d for f, d in zip(result, self.divisors, strict=True)] if self.divisors else result
