"""Attention over the memory of keys and values, and what it is made of."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from edgerun.dataclass import dataclass
from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import View
from edgerun.graph.program import Cache
from edgerun.models.components.alibi import Alibi
from edgerun.models.components.norm import Norm
from edgerun.models.components.rope import Rope


@dataclass(frozen=True)
class Heads:
    """How many query and key/value heads, and how wide a key (and query) and a value are."""

    queries: int
    kv: int
    key: int
    value: int


@dataclass(frozen=True)
class QKNorm:
    """Norm of queries and of keys (arXiv:2010.04245): of each head by itself or of the whole projection, before or after the rope.

    own: each head by itself with weights of its own.
    """

    norm: Norm
    over: Literal["head", "own", "all"] = "head"
    after_rope: bool = False

    def emit(self, b: Builder, x: View, name: str, heads: int) -> None:
        """Normalise `heads` heads in place."""
        self.norm.emit(b, x, x, name, 1 if self.over == "all" else heads, self.over == "own")


@dataclass(frozen=True)
class Temperature:
    """Factor of the queries that grows with their position, as in `ops.Temper`."""

    beta: float
    length: int
    offset: int = 0

    def emit(self, b: Builder, q: View) -> None:
        """Multiply the queries in place."""
        b.add(ops.Temper(q, self.beta, self.length, self.offset))


@dataclass(frozen=True)
class Attention:
    """Causal attention with grouped key/value heads (arXiv:2305.13245).

    scale: None is 1 / sqrt(key width). window: positions seen, the own included. softcap: of the scores. sinks: whether each
    head has a logit that takes its share and carries no value (arXiv:2309.17453). chunk: positions are seen only within the same
    chunk of so many. temperature: of queries. alibi: what distance takes off the scores. clamp: q, k and v are cut off at +-clamp when
    they are made. causal: False is an encoder's, where every position sees the whole text. gated: the file's attn_q yields for
    each head its query and then its gate, whose sigmoid the result is multiplied by. value_norm: of each head of the values. values: the
    file's, or the keys as projected. memory: the number of the key/value memory of an earlier layer to read (arXiv:2405.05254), None
    for one of its own.
    """

    heads: Heads
    rope: Rope | None = None
    qk_norm: QKNorm | None = None
    window: int | None = None
    scale: float | None = None
    softcap: float | None = None
    sinks: bool = False
    chunk: int | None = None
    temperature: Temperature | None = None
    alibi: Alibi | None = None
    clamp: float | None = None
    causal: bool = True
    gated: bool = False
    value_norm: Norm | None = None
    values: Literal["own", "keys"] = "own"
    memory: int | None = None

    def __post_init__(self) -> None:
        if self.qk_norm and self.qk_norm.after_rope:
            assert self.rope, "there is no rope to come after"
            assert not self.qk_norm.norm.bare, "a norm without weights is the same before and after a rope"
        assert self.memory is None or (self.value_norm is None and self.values == "own"), "another layer made the values"

    def reading(self, memory: int | None) -> Attention:
        """The same attention over the memory of an earlier layer, or over its own."""
        return self if memory is None else replace(self, memory=memory, value_norm=None, values="own")

    def cache(self) -> Cache:
        """The key/value memory of such a layer."""
        return Cache(self.heads.kv, self.heads.key, self.heads.value, self.window)

    def emit(self, b: Builder, prefix: str, x: View, out: View, residual: View | None = None) -> None:
        """Write the projected attention over x, plus residual, to out. The file may hold q, k and v in one matrix."""
        n = self.heads
        qkv, gate = self._project(b, prefix, x)
        q, k, v = qkv.part(0, n.queries * n.key), qkv.part(n.queries * n.key, n.kv * n.key), qkv.part((n.queries + n.kv) * n.key, n.kv * n.value)
        late = self.qk_norm is not None and self.qk_norm.after_rope
        if not late:
            self._normalise(b, prefix, q, k)
        if self.rope:
            # Queries and keys lie side by side and turn alike: one op.
            heads = n.queries + (n.kv if self.memory is None else 0)
            self.rope.emit(b, qkv.part(0, heads * n.key), heads)
        if late:
            self._normalise(b, prefix, q, k)
        if self.temperature:
            self.temperature.emit(b, q)
        cache = self._remember(b, prefix, x, k, v)
        att = b.buffer("att", n.queries * n.value)
        scale = 1 / math.sqrt(n.key) if self.scale is None else self.scale
        sinks = b.weight(f"{prefix}attn_sinks.weight", n.queries) if self.sinks else None
        slopes = self.alibi.slopes(n.queries) if self.alibi else None
        b.add(ops.Attention(q, att, cache, n.queries, scale, self.window, self.softcap, sinks, self.chunk, slopes, self.causal))
        if gate:
            b.add(ops.Gate(gate, att, att, "sigmoid"))
        b.linear(att, out, [(f"{prefix}attn_output", out.width)], residual)

    def _project(self, b: Builder, prefix: str, x: View) -> tuple[View, View | None]:
        """Queries, keys and values of x side by side, and the gate. Keys and values stay empty where the memory is another layer's."""
        n = self.heads
        q, k, v = n.queries * n.key, n.kv * n.key, n.kv * n.value
        qkv = b.buffer("qkv", q + k + v)
        parts = [(f"{prefix}attn_q", q), (f"{prefix}attn_k", k), (f"{prefix}attn_v", v)]
        if self.memory is not None:
            parts = parts[:1]
        elif self.values == "keys":
            parts = parts[:2]
        elif b.has(f"{prefix}attn_qkv.weight"):
            parts = [(f"{prefix}attn_qkv", qkv.width)]
        gate = self._gate(b, prefix, x, qkv.part(0, q)) if self.gated else None
        parts, at = (parts[1:], q) if gate else (parts, 0)
        b.linear(x, qkv.part(at, sum(rows for _, rows in parts)), parts)
        if self.clamp is not None:
            b.add(ops.Clamp(qkv, qkv, self.clamp))
        if self.values == "keys":
            b.add(ops.Scale(qkv.part(q, k), qkv.part(q + k, v), 1.0))
        return qkv, gate

    def _gate(self, b: Builder, prefix: str, x: View, q: View) -> View:
        """Project queries and gates, which lie head by head in one matrix, and take them apart."""
        both, gate = b.buffer("q_gate", 2 * q.width), b.buffer("gate", q.width)
        b.linear(x, both, [(f"{prefix}attn_q", both.width)])
        b.add(ops.Arrange(both, q, self.heads.key, tuple(range(0, 2 * self.heads.queries, 2))))
        b.add(ops.Arrange(both, gate, self.heads.key, tuple(range(1, 2 * self.heads.queries, 2))))
        return gate

    def _normalise(self, b: Builder, prefix: str, q: View, k: View) -> None:
        """Normalise queries and keys where the model does."""
        if self.qk_norm:
            self.qk_norm.emit(b, q, f"{prefix}attn_q_norm", self.heads.queries)
            if self.memory is None:
                self.qk_norm.emit(b, k, f"{prefix}attn_k_norm", self.heads.kv)

    def _remember(self, b: Builder, prefix: str, x: View, k: View, v: View) -> int:
        """The number of the memory, after keys and values were written to it where it is this layer's own."""
        if self.memory is not None:
            for name, *shape in ("attn_k", k.width, x.width), ("attn_v", v.width, x.width), ("attn_k_norm", self.heads.key):
                b.unread(f"{prefix}{name}.weight", *shape)
            return self.memory
        if self.value_norm:
            self.value_norm.emit(b, v, v, f"{prefix}attn_v_norm", self.heads.kv)
        cache = b.cache(self.cache())
        b.add(ops.Store(k, v, cache))
        return cache
