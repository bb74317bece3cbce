"""Learned augmented residual layer: a narrow second way past the attention."""

from __future__ import annotations

import math

from edgerun.dataclass import dataclass
from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import View
from edgerun.models.components.norm import Norm


@dataclass(frozen=True)
class Laurel:
    """x = (x + h + norm(right(left(h)))) / sqrt(2), h being what the attention read (arXiv:2411.07501); left has `rank` rows."""

    rank: int
    norm: Norm

    def emit(self, b: Builder, prefix: str, h: View, x: View) -> None:
        """Run the stream x, which the attention was added to, past h."""
        low, t = b.buffer("laurel", self.rank), b.buffer("t", x.width)
        b.linear(h, low, [(f"{prefix}laurel_l", self.rank)])
        b.linear(low, t, [(f"{prefix}laurel_r", x.width)])
        self.norm.emit(b, t, t, f"{prefix}laurel_post_norm")
        b.add(ops.Add(x, h, x))
        b.add(ops.Add(x, t, x))
        b.add(ops.Scale(x, x, 1 / math.sqrt(2)))
