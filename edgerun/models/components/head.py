"""The way out: the stream becomes logits."""

from __future__ import annotations

from dataclasses import dataclass

from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import View
from edgerun.models.components.norm import Norm


@dataclass(frozen=True)
class Head:
    """Logits: norm, the output matrix (or the token table where the file has none), scale, soft cap."""

    norm: Norm
    scale: float = 1.0
    softcap: float | None = None

    def emit(self, b: Builder, x: View, n_vocab: int) -> View:
        """The view of the logits of the rows asked for."""
        h = b.buffer("h", x.width)
        b.add(ops.Select(x, h))
        self.norm.emit(b, h, h, "output_norm")
        logits = b.buffer("logits", n_vocab)
        b.linear(h, logits, [("output" if b.has("output.weight") else "token_embd", n_vocab)])
        if self.scale != 1:
            b.add(ops.Scale(logits, logits, self.scale))
        if self.softcap is not None:
            b.add(ops.Softcap(logits, logits, self.softcap))
        return logits
