"""One block: two parts, each with its norms, added to the stream."""

from __future__ import annotations

from typing import Protocol

from edgerun.dataclass import dataclass
from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import View
from edgerun.models.components.laurel import Laurel
from edgerun.models.components.norm import Norm


class Part(Protocol):
    """What a layer adds to the stream: attention, a feed-forward, experts, a recurrence."""

    def emit(self, b: Builder, prefix: str, x: View, out: View, residual: View | None = None) -> None:
        """Write the part of x, plus residual, to out."""


@dataclass(frozen=True)
class Both:
    """The sum of two parts that read the same x, as attention beside a recurrence."""

    first: Part
    second: Part

    def emit(self, b: Builder, prefix: str, x: View, out: View, residual: View | None = None) -> None:
        """Write both parts of x, plus residual, to out."""
        assert x.buffer != out.buffer, "the second part reads x after the first wrote out"
        self.first.emit(b, prefix, x, out, residual)
        self.second.emit(b, prefix, x, out, residual=out)


@dataclass(frozen=True)
class Normed:
    """after(part(before(x))): a part between norms of its own; before: None where the part reads x as it is."""

    part: Part
    norm: Norm
    after: str
    before: str | None = None

    def emit(self, b: Builder, prefix: str, x: View, out: View, residual: View | None = None) -> None:
        """Write the normalised part of x, plus residual, to out."""
        if self.before:
            h = b.buffer("normed_in", x.width)
            self.norm.emit(b, x, h, prefix + self.before)
            x = h
        made = b.buffer("normed_out", out.width) if residual else out
        self.part.emit(b, prefix, x, made)
        self.norm.emit(b, made, made, prefix + self.after)
        if residual:
            b.add(ops.Add(residual, made, out))


@dataclass(frozen=True)
class Layer:
    """x += attention(norm(x)), then x += feed_forward(norm(x)); in parallel layers both start from the same x.

    attention: what mixes positions, a recurrence as well; feed_forward: None where the layer has but one half.
    attn_norm, ffn_norm: names of the norms before, None for none (in a parallel layer without ffn_norm both share the
    first); post_attn_norm, post_ffn_norm: on what is added. residual_scale: factor of what is added. laurel: a second way past
    the attention. extra: a third part, which reads the stream as it is; its norm is called post_norm. scale: of all at the end.
    """

    attention: Part
    feed_forward: Part | None
    norm: Norm
    attn_norm: str | None = "attn_norm"
    ffn_norm: str | None = "ffn_norm"
    post_attn_norm: str | None = None
    post_ffn_norm: str | None = None
    parallel: bool = False
    residual_scale: float = 1.0
    laurel: Laurel | None = None
    extra: Part | None = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        assert self.feed_forward or not (self.ffn_norm or self.post_ffn_norm or self.parallel), "a layer of one half has nothing to say of the other"
        assert self.attn_norm or not self.parallel, "the halves of a parallel layer read a copy of x that stays as it was"

    def emit(self, b: Builder, prefix: str, x: View) -> None:
        """Run the stream x through the layer."""
        h = self._before(b, prefix, x, self.attn_norm, "h")
        g = self._before(b, prefix, x, self.ffn_norm, "g") if self.parallel and self.ffn_norm else h
        self._add(b, prefix, x, self.attention, h, self.post_attn_norm)
        if self.laurel:
            self.laurel.emit(b, prefix, h, x)
        if self.feed_forward:
            if not self.parallel:
                g = self._before(b, prefix, x, self.ffn_norm, "h")
            self._add(b, prefix, x, self.feed_forward, g, self.post_ffn_norm)
        if self.extra:
            self._add(b, prefix, x, self.extra, x, "post_norm")
        if self.scale != 1:
            b.add(ops.Scale(x, x, self.scale))

    def _before(self, b: Builder, prefix: str, x: View, name: str | None, buffer: str) -> View:
        """Normalise x into `buffer`; x itself where there is no norm."""
        if name is None:
            return x
        out = b.buffer(buffer, x.width)
        self.norm.emit(b, x, out, prefix + name)
        return out

    def _add(self, b: Builder, prefix: str, x: View, part: Part, h: View, post: str | None) -> None:
        """Do x += residual_scale * post_norm(part(h)); the last matrix adds by itself where nothing comes between."""
        if post is None and self.residual_scale == 1:
            part.emit(b, prefix, h, x, residual=x)
            return
        t = b.buffer("t", x.width)
        part.emit(b, prefix, h, t)
        if post:
            self.norm.emit(b, t, t, prefix + post)
        if self.residual_scale != 1:
            b.add(ops.Scale(t, t, self.residual_scale))
        b.add(ops.Add(x, t, x))
