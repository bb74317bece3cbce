"""Per-layer embeddings: each layer has a narrow table of its own, whose rows it is given beside the stream."""

from __future__ import annotations

import math

from edgerun.dataclass import dataclass
from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import View
from edgerun.models.components.embedding import Embedding
from edgerun.models.components.norm import Norm

_BUFFER = "per_layer"   # [layers][width] of each row, from the embedding to the last layer


@dataclass(frozen=True)
class PerLayerEmbedding:
    """The token's row of the stream, and `layers` rows of `width`: (row of a second table + norm(projection of the first)) / sqrt(2)."""

    tokens: Embedding
    layers: int
    width: int
    norm: Norm

    def emit(self, b: Builder, x: View, n_vocab: int) -> None:
        """Fill the stream and the rows that wait for the layers."""
        rows = b.buffer(_BUFFER, self.layers * self.width)
        projected = b.buffer("projected", rows.width)
        self.tokens.emit(b, x, n_vocab)
        b.add(ops.Embed(rows, b.weight("per_layer_token_embd.weight", n_vocab, rows.width), math.sqrt(self.width)))
        b.linear(x, projected, [("per_layer_model_proj", rows.width)])
        b.add(ops.Scale(projected, projected, 1 / math.sqrt(x.width)))
        self.norm.emit(b, projected, projected, "per_layer_proj_norm", self.layers)
        b.add(ops.Add(rows, projected, rows))
        b.add(ops.Scale(rows, rows, 1 / math.sqrt(2)))


@dataclass(frozen=True)
class PerLayerInput:
    """projection(gelu(gate(x)) * row), with the row of `width` that waits for layer number `layer`."""

    layer: int
    width: int

    def emit(self, b: Builder, prefix: str, x: View, out: View, residual: View | None = None) -> None:
        """Write it, plus residual, to out."""
        row = b.buffer(_BUFFER, (self.layer + 1) * self.width).part(self.layer * self.width, self.width)
        gate = b.buffer("gate", self.width)
        b.linear(x, gate, [(f"{prefix}inp_gate", self.width)])
        b.add(ops.Gate(gate, row, gate, "gelu"))
        b.linear(gate, out, [(f"{prefix}proj", out.width)], residual)
