"""What specs are composed of. A component is frozen data and knows which ops it stands for; it knows no family and no file.

`prefix` is what the tensor names of a layer begin with, such as "blk.3.". Buffers are described in `graph/lower.py`.
Every default is neutral: a component that is not named is not there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import Activation, View
from edgerun.graph.program import Cache
from edgerun.models.rope import Rope


@dataclass(frozen=True)
class Norm:
    """Normalisation with weights from the file; kind as in `ops.Norm`."""

    kind: Literal["rms", "layer"]
    eps: float

    def emit(self, b: Builder, x: View, out: View, name: str, groups: int = 1) -> None:
        """Normalise each of `groups` equal parts of x with tensor `name`.weight."""
        width = x.width // groups
        weight = b.weight(f"{name}.weight", width)
        bias = b.optional(f"{name}.bias", width) if self.kind == "layer" else None
        b.add(ops.Norm(x, out, weight, self.eps, self.kind, groups, bias))


@dataclass(frozen=True)
class Embedding:
    """Rows of the token table, times scale."""

    scale: float = 1.0

    def emit(self, b: Builder, x: View, n_vocab: int) -> None:
        """Fill the stream with the tokens' rows."""
        b.add(ops.Embed(x, b.weight("token_embd.weight", n_vocab, x.width), self.scale))


@dataclass(frozen=True)
class Heads:
    """How many query and key/value heads, and how wide a key (and query) and a value are."""

    queries: int
    kv: int
    key: int
    value: int


@dataclass(frozen=True)
class QKNorm:
    """Norm of queries and of keys before the rope (arXiv:2010.04245): each head by itself, or the whole projection at once."""

    norm: Norm
    over: Literal["head", "all"] = "head"

    def emit(self, b: Builder, x: View, name: str, heads: int) -> None:
        """Normalise `heads` heads in place."""
        self.norm.emit(b, x, x, name, heads if self.over == "head" else 1)


@dataclass(frozen=True)
class Attention:
    """Causal attention with grouped key/value heads (arXiv:2305.13245).

    scale: None is 1 / sqrt(key width). window: positions seen, the own included. softcap: of the scores.
    """

    heads: Heads
    rope: Rope | None = None
    qk_norm: QKNorm | None = None
    window: int | None = None
    scale: float | None = None
    softcap: float | None = None

    def cache(self) -> Cache:
        """The key/value memory of such a layer."""
        return Cache(self.heads.kv, self.heads.key, self.heads.value, self.window)

    def emit(self, b: Builder, prefix: str, x: View, out: View, residual: View | None = None) -> None:
        """Write the projected attention over x, plus residual, to out. The file may hold q, k and v in one matrix."""
        n = self.heads
        q_width, k_width, v_width = n.queries * n.key, n.kv * n.key, n.kv * n.value
        qkv = b.buffer("qkv", q_width + k_width + v_width)
        if b.has(f"{prefix}attn_qkv.weight"):
            b.linear(x, qkv, [(f"{prefix}attn_qkv", qkv.width)])
        else:
            b.linear(x, qkv, [(f"{prefix}attn_q", q_width), (f"{prefix}attn_k", k_width), (f"{prefix}attn_v", v_width)])
        q, k, v = qkv.part(0, q_width), qkv.part(q_width, k_width), qkv.part(q_width + k_width, v_width)
        if self.qk_norm:
            self.qk_norm.emit(b, q, f"{prefix}attn_q_norm", n.queries)
            self.qk_norm.emit(b, k, f"{prefix}attn_k_norm", n.kv)
        if self.rope:
            # Queries and keys lie side by side and turn alike: one op.
            self.rope.emit(b, qkv.part(0, q_width + k_width), n.queries + n.kv)
        cache = b.cache(self.cache())
        b.add(ops.Store(k, v, cache))
        att = b.buffer("att", n.queries * n.value)
        scale = 1 / math.sqrt(n.key) if self.scale is None else self.scale
        b.add(ops.Attention(q, att, cache, n.queries, scale, self.window, self.softcap))
        b.linear(att, out, [(f"{prefix}attn_output", out.width)], residual)


@dataclass(frozen=True)
class FeedForward:
    """down(activation(gate) * up) (arXiv:2002.05202), or down(activation(up)) where kind is plain.

    gated: gate and up are matrices of their own; fused: the file's ffn_up holds the gate's rows, then up's.
    """

    width: int
    activation: Activation
    kind: Literal["gated", "fused", "plain"] = "gated"

    def emit(self, b: Builder, prefix: str, x: View, out: View, residual: View | None = None) -> None:
        """Write the feed-forward of x, plus residual, to out."""
        gu = b.buffer("gu", self.width if self.kind == "plain" else 2 * self.width)
        if self.kind == "gated":
            b.linear(x, gu, [(f"{prefix}ffn_gate", self.width), (f"{prefix}ffn_up", self.width)])
        else:
            b.linear(x, gu, [(f"{prefix}ffn_up", gu.width)])
        act = b.buffer("act", self.width)
        if self.kind == "plain":
            b.add(ops.Activate(gu, act, self.activation))
        else:
            b.add(ops.Gate(gu.part(0, self.width), gu.part(self.width, self.width), act, self.activation))
        b.linear(act, out, [(f"{prefix}ffn_down", out.width)], residual)


@dataclass(frozen=True)
class Layer:
    """x += attention(norm(x)), then x += feed_forward(norm(x)); in parallel layers both start from the same x.

    attn_norm, ffn_norm: names of the norms before, None for none (in a parallel layer without ffn_norm both share the
    first); post_attn_norm, post_ffn_norm: on what is added. residual_scale: factor of what is added.
    """

    attention: Attention
    feed_forward: FeedForward
    norm: Norm
    attn_norm: str | None = "attn_norm"
    ffn_norm: str | None = "ffn_norm"
    post_attn_norm: str | None = None
    post_ffn_norm: str | None = None
    parallel: bool = False
    residual_scale: float = 1.0

    def __post_init__(self) -> None:
        assert self.attn_norm or not self.parallel, "the halves of a parallel layer read a copy of x that stays as it was"

    def emit(self, b: Builder, prefix: str, x: View) -> None:
        """Run the stream x through the layer."""
        h = self._before(b, prefix, x, self.attn_norm, "h")
        g = self._before(b, prefix, x, self.ffn_norm, "g") if self.parallel and self.ffn_norm else h
        self._add(b, prefix, x, self.attention, h, self.post_attn_norm)
        if not self.parallel:
            g = self._before(b, prefix, x, self.ffn_norm, "h")
        self._add(b, prefix, x, self.feed_forward, g, self.post_ffn_norm)

    def _before(self, b: Builder, prefix: str, x: View, name: str | None, buffer: str) -> View:
        """Normalise x into `buffer`; x itself where there is no norm."""
        if name is None:
            return x
        out = b.buffer(buffer, x.width)
        self.norm.emit(b, x, out, prefix + name)
        return out

    def _add(self, b: Builder, prefix: str, x: View, part: Attention | FeedForward, h: View, post: str | None) -> None:
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
