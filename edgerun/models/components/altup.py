"""Alternating updates: several streams side by side, of which a layer computes one and predicts the others."""

from __future__ import annotations

from edgerun.dataclass import dataclass
from edgerun.graph import lower, ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import View
from edgerun.models.components.layer import Part
from edgerun.models.components.norm import Norm

_FLOOR = 1e-5   # of the mean square that a stream's magnitude is measured by


@dataclass(frozen=True)
class AltUp:
    """`count` streams of the width of x (arXiv:2301.13310), of which layers compute number `active`, in x."""

    count: int
    active: int

    def all(self, b: Builder, name: str, x: View) -> View:
        """The buffer of all streams, or of their predictions."""
        return b.buffer(name, self.count * x.width)

    def one(self, streams: View, x: View, number: int | None = None) -> View:
        """One of the streams: the active one."""
        return streams.part((self.active if number is None else number) * x.width, x.width)


@dataclass(frozen=True)
class AltUpEmbedding:
    """Stream 0 is the embedding; the others are projections of it, brought to its magnitude."""

    embedding: lower.Embedding
    altup: AltUp

    def emit(self, b: Builder, x: View, n_vocab: int) -> None:
        """Fill all streams."""
        self.embedding.emit(b, x, n_vocab)
        streams, others = self.altup.all(b, "streams", x), self.altup.count - 1
        b.add(ops.Scale(x, streams.part(0, x.width), 1.0))
        projection = b.weight("altup_proj.weight", others, x.width, x.width)
        b.add(ops.HeadLinear(ops.Slices(x, others, 0), streams.part(x.width, others * x.width).slices(others, x.width), projection))
        for i in range(1, self.altup.count):
            stream = self.altup.one(streams, x, i)
            b.add(ops.Match(stream, x, stream, _FLOOR))


@dataclass(frozen=True)
class AltUpLayer:
    """Predict all streams, run the active one through `layer`, correct all by what came out; then add `extra` to all but stream 0.

    norm: of what the router reads and of what `extra` adds.
    """

    layer: lower.Layer
    altup: AltUp
    extra: Part
    norm: Norm

    def emit(self, b: Builder, prefix: str, x: View) -> None:
        """Run all streams through the layer."""
        n, streams, predicted, t = self.altup.count, self.altup.all(b, "streams", x), self.altup.all(b, "predicted", x), b.buffer("t", x.width)
        active = self.altup.one(predicted, x)
        coefficients = self._route(b, prefix, self.altup.one(streams, x), "altup_predict_coef", n * n)
        b.add(ops.Blend(streams, coefficients, streams, predicted, n))
        b.add(ops.Scale(active, x, 1.0))
        self.layer.emit(b, prefix, x)
        coefficients = self._route(b, prefix, x, "altup_correct_coef", n)
        b.add(ops.Scale(active, t, -1.0))
        b.add(ops.Add(x, t, t))
        b.add(ops.Blend(t, coefficients, predicted, streams, n, plus=1.0))
        self._add_extra(b, prefix, x, streams)

    def _route(self, b: Builder, prefix: str, x: View, name: str, rows: int) -> View:
        """What the router makes of x: coefficients, of which matrix `name` has `rows`."""
        h, routed, out = b.buffer("h", x.width), b.buffer("routed", self.altup.count), b.buffer("coefficients", rows)
        self.norm.emit(b, x, h, f"{prefix}altup_router_norm")
        b.add(ops.Scale(h, h, 1 / x.width))
        b.linear(h, routed, [(f"{prefix}altup_router", self.altup.count)])
        b.add(ops.Softcap(routed, routed, 1.0))   # tanh
        b.linear(routed, out, [(f"{prefix}{name}", rows)])
        return out

    def _add_extra(self, b: Builder, prefix: str, x: View, streams: View) -> None:
        h, t = b.buffer("h", x.width), b.buffer("t", x.width)
        b.add(ops.ScaleColumns(self.altup.one(streams, x), h, b.weight(f"{prefix}altup_correct_scale.weight", x.width)))
        self.extra.emit(b, prefix, h, t)
        self.norm.emit(b, t, t, f"{prefix}post_norm")
        for i in range(1, self.altup.count):
            stream = self.altup.one(streams, x, i)
            b.add(ops.Add(stream, t, stream))


@dataclass(frozen=True)
class AltUpHead:
    """The mean of stream 0 and of projections of the others, brought to its magnitude, goes to `head`."""

    head: lower.Head
    altup: AltUp

    def emit(self, b: Builder, x: View, n_vocab: int) -> View | None:
        """The view of the logits of the rows asked for."""
        streams, others = self.altup.all(b, "streams", x), self.altup.count - 1
        first, t = self.altup.one(streams, x, 0), b.buffer("predicted", others * x.width)
        projection = b.weight("altup_unembd_proj.weight", others, x.width, x.width)
        b.add(ops.Scale(first, x, 1.0))
        b.add(ops.HeadLinear(streams.part(x.width, t.width).slices(others, x.width), t.slices(others, x.width), projection))
        for i in range(1, self.altup.count):
            part = t.part((i - 1) * x.width, x.width)
            b.add(ops.Match(part, first, part, _FLOOR))
            b.add(ops.Add(x, part, x))
        b.add(ops.Scale(x, x, 1 / self.altup.count))
        return self.head.emit(b, x, n_vocab)
