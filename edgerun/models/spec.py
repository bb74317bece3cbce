"""What a model is: a frozen tree of components. Knows neither tensors' bytes nor how any of it is computed."""

from __future__ import annotations

from dataclasses import dataclass

from edgerun.models.components import Embedding, Head, Layer


@dataclass(frozen=True)
class Spec:
    """A decoder: embedding, layers, head.

    architecture: the GGUF name; context: the trained length in tokens; consumed: tensors of the file whose values are in
    this spec already, so that no op names them.
    """

    architecture: str
    n_vocab: int
    n_embd: int
    context: int
    embedding: Embedding
    layers: tuple[Layer, ...]
    head: Head
    consumed: frozenset[str] = frozenset()

    @property
    def n_layer(self) -> int:
        """Number of layers."""
        return len(self.layers)

    @property
    def longest(self) -> int | None:
        """Positions that it learned one by one: it cannot compute more. None where it can compute any."""
        return self.embedding.positions
