"""The kinds of numbers that keys and values are kept as, and how they lie in a page. Data shared by kernels and `phases.py`.

A page holds 64 positions of all layers, so that what a text takes lies together: of each layer the keys and then the values, by
head. A head is cut into strips of dimensions; the last one is filled up with zeros.

    keys     [position / 16][strip]{scales f16 [16] | [dimension][16]}     a lane is a position: no sums across lanes
    values   [strip]{scales f16 [64] | [position][dimension]}              a lane is a dimension

Scales only where a number has fewer than 16 bits: one for the 32 dimensions of a position and strip, as in llama.cpp's Q8_0
and Q4_0. Two 4-bit numbers share a byte: dimensions 2d and 2d + 1 of a key, d and d + 16 of a value's strip.
"""

from __future__ import annotations

from edgerun.backends.executor import PAGE
from edgerun.dataclass import dataclass


@dataclass(frozen=True)
class Kind:
    """bits of a number; whether heads are rotated before they are rounded (`rotation.py`), which spreads what sticks out."""

    bits: int
    rotated: bool = False

    @property
    def scaled(self) -> bool:
        """Whether 32 numbers share a scale."""
        return self.bits < 16

    @property
    def strip(self) -> int:
        """Dimensions of a strip."""
        return 32 if self.scaled else 16

    @property
    def key_strip(self) -> int:
        """Bytes of a strip of 16 keys."""
        return 32 * self.scaled + 16 * self.strip * self.bits // 8

    @property
    def value_strip(self) -> int:
        """Bytes of a strip of a page's values: as many as its keys take."""
        return PAGE // 16 * self.key_strip

    def room(self, width: int) -> int:
        """Dimensions that a head of `width` takes."""
        return -(-width // self.strip) * self.strip

    def page(self, width: int) -> int:
        """Bytes of a page of keys, or of values, of one head."""
        return self.room(width) // self.strip * self.value_strip


KINDS = {"f32": Kind(32), "f16": Kind(16), "bf16": Kind(16), "q8_0": Kind(8), "q4_0": Kind(4, rotated=True)}


def kinds_of(kv: str) -> tuple[str, str]:
    """The kinds of the keys and of the values that "f16" (both) or "q8_0:q4_0" (one and the other) names."""
    keys, _, values = kv.partition(":")
    return keys, values or keys
