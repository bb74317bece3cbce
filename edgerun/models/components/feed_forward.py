"""The feed-forward half of a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import Activation, View


@dataclass(frozen=True)
class FeedForward:
    """down(activation(gate) * up) (arXiv:2002.05202), or down(activation(up)) where kind is plain.

    gated: gate and up are matrices of their own; fused: the file's ffn_up holds the gate's rows, then up's.
    """

    width: int
    activation: Activation
    kind: Literal["gated", "fused", "plain"] = "gated"

    def emit(self, b: Builder, prefix: str, x: View, out: View, residual: View | None = None) -> None:
        """Write the feed-forward of x, plus residual, to out."""
        gu = b.buffer("gu", self.width if self.kind == "plain" else 2 * self.width)
        if self.kind == "gated":
            b.linear(x, gu, [(f"{prefix}ffn_gate", self.width), (f"{prefix}ffn_up", self.width)])
        else:
            b.linear(x, gu, [(f"{prefix}ffn_up", gu.width)])
        act = b.buffer("act", self.width)
        if self.kind == "plain":
            b.add(ops.Activate(gu, act, self.activation))
        else:
            b.add(ops.Gate(gu.part(0, self.width), gu.part(self.width, self.width), act, self.activation))
        b.linear(act, out, [(f"{prefix}ffn_down", out.width)], residual)
