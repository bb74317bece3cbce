"""The way out: the stream becomes hidden rows, and these logits, scores or nothing more."""

from __future__ import annotations

from edgerun.dataclass import dataclass
from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import View
from edgerun.models.components.norm import Norm


@dataclass(frozen=True)
class Hidden:
    """An encoder's: the hidden rows, normalised where the file has a last norm, and no logits."""

    norm: Norm | None = None
    name: str = "output_norm"

    def emit(self, b: Builder, x: View, n_vocab: int) -> None:
        """Mark the hidden rows of the rows asked for."""
        self.rows(b, x)

    def rows(self, b: Builder, x: View) -> View:
        """The view of the hidden rows."""
        h = b.buffer("h", x.width)
        b.add(ops.Select(x, h))
        if self.norm:
            self.norm.emit(b, h, h, self.name)
        b.add(ops.Hidden(h))
        return h


@dataclass(frozen=True)
class Head:
    """Logits: norm, the output matrix (or the token table where the file has none), scale, soft cap; `name` is the norm's."""

    norm: Norm
    scale: float = 1.0
    softcap: float | None = None
    name: str = "output_norm"

    def emit(self, b: Builder, x: View, n_vocab: int) -> View:
        """The view of the logits of the rows asked for."""
        h = Hidden(self.norm, self.name).rows(b, x)
        logits = b.buffer("logits", n_vocab)
        b.linear(h, logits, [("output" if b.has("output.weight") else "token_embd", n_vocab)])
        if self.scale != 1:
            b.add(ops.Scale(logits, logits, self.scale))
        if self.softcap is not None:
            b.add(ops.Softcap(logits, logits, self.softcap))
        return logits


@dataclass(frozen=True)
class Classifier:
    """A score for each label: output(tanh(dense(hidden))) (arXiv:1907.11692), without the dense layer where the file has none."""

    labels: tuple[str, ...]
    norm: Norm | None = None

    def emit(self, b: Builder, x: View, n_vocab: int) -> View:
        """The view of the scores of the rows asked for."""
        h = Hidden(self.norm).rows(b, x)
        if b.has("cls.weight"):
            dense = b.buffer("t", x.width)
            b.linear(h, dense, [("cls", x.width)])
            b.add(ops.Softcap(dense, dense, 1.0))   # cap * tanh(x / cap)
            h = dense
        scores = b.buffer("logits", len(self.labels))
        b.linear(h, scores, [("cls.output", len(self.labels))])
        return scores
