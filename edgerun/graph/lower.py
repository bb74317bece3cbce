"""A spec and the shapes of a file's tensors become a Program. Knows no architecture: components write their own ops.

Blocks share buffers by name, so scratch stays as small as one block: x is the residual stream, h the normalised rows,
t what a post norm works on, qkv and att belong to attention (low, q, kv, qk, v and o where it is latent), gu and act to the
feed-forward; router, choice, expert_gu, expert_act and slots to one of experts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from edgerun.graph.builder import Builder, Shape, Survey
from edgerun.graph.ops import View
from edgerun.graph.program import Program


class Embedding(Protocol):
    """Turns tokens into rows of the stream."""

    def emit(self, b: Builder, x: View, n_vocab: int) -> None:
        """Add the ops that fill x."""


class Layer(Protocol):
    """One block."""

    def emit(self, b: Builder, prefix: str, x: View) -> None:
        """Add the ops that run x through the block, whose tensors are named `prefix` + name."""


class Head(Protocol):
    """Turns the stream into hidden rows, marked by `ops.Hidden`, and these into logits."""

    def emit(self, b: Builder, x: View, n_vocab: int) -> View | None:
        """Add the ops from x to the logits of the rows asked for; their view, None where there are none."""
        ...


class Spec(Protocol):
    """What lowering needs of a model's spec; `models.spec.Spec` is one and says what the fields mean."""

    @property
    def n_vocab(self) -> int:
        """Tokens."""
        ...

    @property
    def n_embd(self) -> int:
        """Width of the stream."""
        ...

    @property
    def embedding(self) -> Embedding:
        """The way in."""
        ...

    @property
    def layers(self) -> Sequence[Layer]:
        """The blocks in order."""
        ...

    @property
    def head(self) -> Head:
        """The way out."""
        ...

    @property
    def consumed(self) -> frozenset[str]:
        """Tensors whose values are in the spec already."""
        ...


def lower(spec: Spec, shapes: Mapping[str, Shape]) -> Program:
    """The program of `spec` over tensors of these shapes (slowest dimension first).

    ModelError names the tensor that is missing, has another shape than the spec calls for, or has no part in the model.
    """
    b = Builder(shapes, spec.consumed)
    return b.program(_emit(b, spec))


def survey(spec: Spec, shapes: Mapping[str, Shape]) -> Survey:
    """What of `spec` does not fit tensors of these shapes."""
    b = Survey(shapes, spec.consumed)
    _emit(b, spec)
    return b


def _emit(b: Builder, spec: Spec) -> View | None:
    """Walk the spec; the view of its logits, if it has any."""
    x = b.buffer("x", spec.n_embd)
    spec.embedding.emit(b, x, spec.n_vocab)
    for i, layer in enumerate(spec.layers):
        layer.emit(b, f"blk.{i}.", x)
    return spec.head.emit(b, x, spec.n_vocab)
