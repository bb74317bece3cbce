"""What a model is: a frozen tree of components. Knows neither tensors' bytes nor how any of it is computed."""

from __future__ import annotations

from edgerun.dataclass import dataclass
from edgerun.graph.lower import Embedding, Head, Layer
from edgerun.models.components import Classifier, Hidden
from edgerun.models.components import Embedding as TokenEmbedding


@dataclass(frozen=True)
class Spec:
    """A decoder or an encoder: embedding, layers, head.

    architecture: the GGUF name; context: the trained length in tokens; pooling: how the hidden rows of a text become one
    vector (mean, cls: the first, last, or none where the file does not say), no part of what is computed here; consumed: tensors of the file whose values are in
    this spec already, so that no op names them.
    """

    architecture: str
    n_vocab: int
    n_embd: int
    context: int
    embedding: Embedding
    layers: tuple[Layer, ...]
    head: Head
    pooling: str
    consumed: frozenset[str] = frozenset()

    @property
    def writes(self) -> bool:
        """Whether it gives logits of the next token; an encoder gives hidden rows or scores only."""
        return not isinstance(self.head, Hidden | Classifier)

    @property
    def longest(self) -> int | None:
        """Positions that it learned one by one: it cannot compute more. None where it can compute any."""
        return self.embedding.positions if isinstance(self.embedding, TokenEmbedding) else None

    @property
    def n_layer(self) -> int:
        """Number of layers."""
        return len(self.layers)
