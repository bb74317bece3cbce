"""The way in: tokens become rows of the stream."""

from __future__ import annotations

from edgerun.dataclass import dataclass
from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import View
from edgerun.models.components.norm import Norm


@dataclass(frozen=True)
class Embedding:
    """Rows of the token table, times scale, plus a learned row for each of `positions` positions, normalised.

    positions: None where the model has no such table; there is none for a position beyond it. types: the row of the first
    type of token is added too.
    """

    scale: float = 1.0
    positions: int | None = None
    norm: Norm | None = None
    types: bool = False

    def emit(self, b: Builder, x: View, n_vocab: int) -> None:
        """Fill the stream with the tokens' rows."""
        places = b.weight("position_embd.weight", self.positions, x.width) if self.positions else None
        types = b.rows("token_types.weight", x.width) if self.types else None
        b.add(ops.Embed(x, b.weight("token_embd.weight", n_vocab, x.width), self.scale, places, types))
        if self.norm:
            self.norm.emit(b, x, x, "token_embd_norm")
