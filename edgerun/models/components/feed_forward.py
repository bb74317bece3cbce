"""The feed-forward half of a layer."""

from __future__ import annotations

from typing import Literal

from edgerun.dataclass import dataclass
from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import Activation, View, Xielu


@dataclass(frozen=True)
class FeedForward:
    """down(activation(gate) * up) (arXiv:2002.05202), or down(activation(up)) where kind is plain.

    gated: gate and up are matrices of their own; fused: the file's ffn_up holds the gate's rows, then up's. suffix: what the
    tensors' names end in, such as "_shexp". score: a row of weights; the sigmoid of its product with x multiplies the result.
    cutoff: of the gate only what exceeds its mean by so many standard deviations passes (arXiv:2506.06644).
    """

    width: int
    activation: Activation | Xielu
    kind: Literal["gated", "fused", "plain"] = "gated"
    suffix: str = ""
    score: str | None = None
    cutoff: float | None = None

    def emit(self, b: Builder, prefix: str, x: View, out: View, residual: View | None = None) -> None:
        """Write the feed-forward of x, plus residual, to out."""
        gate, up, down = (f"{prefix}ffn_{name}{self.suffix}" for name in ("gate", "up", "down"))
        gu = b.buffer("gu", self.width if self.kind == "plain" else 2 * self.width)
        if self.kind == "gated":
            b.linear(x, gu, [(gate, self.width), (up, self.width)])
        else:
            b.linear(x, gu, [(up, gu.width)])
        act = b.buffer("act", self.width)
        if self.kind == "plain":
            b.add(ops.Activate(gu, act, self.activation))
        else:
            assert not isinstance(self.activation, Xielu), "no model gates with an activation that has parameters"
            opening = gu.part(0, self.width)
            if self.cutoff is not None:
                b.add(ops.Cutoff(opening, opening, self.cutoff))
            b.add(ops.Gate(opening, gu.part(self.width, self.width), act, self.activation))
        if self.score is None:
            b.linear(act, out, [(down, out.width)], residual)
            return
        whole, score = b.buffer("unscored", out.width), b.buffer("score", 1)
        b.linear(act, whole, [(down, out.width)])
        b.linear(x, score, [(prefix + self.score, 1)])
        b.add(ops.Gate(score, whole, whole if residual else out, "sigmoid"))
        if residual:
            b.add(ops.Add(residual, whole, out))
