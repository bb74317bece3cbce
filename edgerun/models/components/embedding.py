"""The way in: tokens become rows of the stream."""

from __future__ import annotations

from dataclasses import dataclass

from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import View


@dataclass(frozen=True)
class Embedding:
    """Rows of the token table, times scale."""

    scale: float = 1.0

    def emit(self, b: Builder, x: View, n_vocab: int) -> None:
        """Fill the stream with the tokens' rows."""
        b.add(ops.Embed(x, b.weight("token_embd.weight", n_vocab, x.width), self.scale))
