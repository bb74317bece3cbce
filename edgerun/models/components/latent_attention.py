"""Attention whose keys and values are kept compressed: one narrow vector per position for all heads. Knows no family."""

from __future__ import annotations

from edgerun.dataclass import dataclass
from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import View
from edgerun.graph.program import Cache
from edgerun.models.components.attention import Temperature
from edgerun.models.components.norm import Norm
from edgerun.models.components.rope import Rope


@dataclass(frozen=True)
class LatentAttention:
    """Multi-head latent attention (arXiv:2405.04434, section 2.1).

    A head's key is `rope.width` turned columns, the same for all heads, and `still` columns without rope; these and its `value`
    columns are matrices times the latent, `rank` normalised numbers. q_rank: queries come from that many numbers, by a norm of
    their own. scale: of the scores.

    Where the file holds attn_k_b and attn_v_b, they work on queries and on results instead of keys and values, so that the
    memory holds latents only, as one key/value head; where it holds them as one, attn_kv_b, keys and values are kept by head.
    """

    heads: int
    rank: int
    still: int
    value: int
    rope: Rope
    norm: Norm
    scale: float
    q_rank: int | None = None
    temperature: Temperature | None = None

    def emit(self, b: Builder, prefix: str, x: View, out: View, residual: View | None = None) -> None:
        """Write the projected attention over x, plus residual, to out."""
        turned = self.rope.width
        q_width = self.heads * (self.still + turned)
        first = q_width if self.q_rank is None else self.q_rank
        low = b.buffer("low", first + self.rank + turned)
        b.linear(x, low, [(f"{prefix}attn_{'q' if self.q_rank is None else 'q_a'}", first), (f"{prefix}attn_kv_a_mqa", self.rank + turned)])
        q, latent, k = low.part(0, first), low.part(first, self.rank), low.part(first + self.rank, turned)
        self.norm.emit(b, latent, latent, f"{prefix}attn_kv_a_norm")
        if self.q_rank is not None:
            self.norm.emit(b, q, q, f"{prefix}attn_q_a_norm")
            q, from_rank = b.buffer("q", q_width), q
            b.linear(from_rank, q, [(f"{prefix}attn_q_b", q_width)])
        o = b.buffer("o", self.heads * self.value)
        attend = self._by_head if b.has(f"{prefix}attn_kv_b.weight") else self._by_latent
        attend(b, prefix, q, latent, k, o)
        b.linear(o, out, [(f"{prefix}attn_output", out.width)], residual)

    def _by_latent(self, b: Builder, prefix: str, q: View, latent: View, k: View, o: View) -> None:
        """A query's still part times attn_k_b meets the latents themselves; what attention makes of them goes through attn_v_b."""
        turned, width = self.rope.width, self.rope.width + self.rank
        qk = b.buffer("qk", (self.heads + 1) * width)
        queries, key = qk.part(0, self.heads * width), qk.part(self.heads * width, width)
        b.add(ops.Copy(q.slices(self.heads, turned, self.still), queries.slices(self.heads, turned)))
        k_b = b.weight(f"{prefix}attn_k_b.weight", self.heads, self.rank, self.still)
        b.add(ops.HeadLinear(q.slices(self.heads, self.still), queries.slices(self.heads, self.rank, turned), k_b))
        b.add(ops.Copy(k.slices(1, turned), key.slices(1, turned)))
        b.add(ops.Copy(latent.slices(1, self.rank), key.slices(1, self.rank, turned)))
        att = b.buffer("att", self.heads * self.rank)
        self._attend(b, qk, queries, key, key.part(turned, self.rank), att, 1)
        v_b = b.weight(f"{prefix}attn_v_b.weight", self.heads, self.value, self.rank)
        b.add(ops.HeadLinear(att.slices(self.heads, self.rank), o.slices(self.heads, self.value), v_b))

    def _by_head(self, b: Builder, prefix: str, q: View, latent: View, k: View, o: View) -> None:
        """Keys and values of every head are made at once and kept."""
        n, turned, width = self.heads, self.rope.width, self.rope.width + self.still
        kv = b.buffer("kv", n * (self.still + self.value))
        b.linear(latent, kv, [(f"{prefix}attn_kv_b", kv.width)])
        qk, v = b.buffer("qk", 2 * n * width), b.buffer("v", n * self.value)
        queries, keys = qk.part(0, n * width), qk.part(n * width, n * width)
        b.add(ops.Copy(q.slices(n, turned, self.still), queries.slices(n, turned)))
        b.add(ops.Copy(q.slices(n, self.still), queries.slices(n, self.still, turned)))
        b.add(ops.Copy(ops.Slices(k, n, 0), keys.slices(n, turned)))
        b.add(ops.Copy(kv.slices(n, self.still), keys.slices(n, self.still, turned)))
        b.add(ops.Copy(kv.slices(n, self.value, self.still), v.slices(n, self.value)))
        self._attend(b, qk, queries, keys, v, o, n)

    def _attend(self, b: Builder, qk: View, queries: View, keys: View, values: View, out: View, kv_heads: int) -> None:
        """Turn queries and keys, which lie side by side with the turned columns first; remember keys and values; attend."""
        self.rope.emit(b, qk, self.heads + kv_heads)
        if self.temperature:
            self.temperature.emit(b, queries)
        cache = b.cache(Cache(kv_heads, keys.width // kv_heads, values.width // kv_heads))
        b.add(ops.Store(keys, values, cache))
        b.add(ops.Attention(queries, out, cache, self.heads, self.scale))
