"""The gated delta net: linear attention whose memory is a matrix per head."""

from __future__ import annotations

from typing import Literal

from edgerun.dataclass import dataclass
from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import View
from edgerun.models.components.convolution import Convolution
from edgerun.models.components.norm import Norm

UNIT_EPS = 1e-6   # of the lengths of queries and keys; no key holds it, and the checkpoints' code has no setting for it


@dataclass(frozen=True)
class DeltaNet:
    """Gated delta net (arXiv:2412.06464): out(norm(delta rule(q, k, v)) * silu(z)), q, k and v convolved, q and k of length 1.

    key_heads of `key` numbers, heads of `value` numbers. tiled: head j uses key head j % key_heads, else j // (heads / key_heads).
    scores: where beta and alpha come from: "by key head" one matrix holds, for each key head, the betas and then the alphas of
    its heads; "apart" each has a matrix.
    """

    key_heads: int
    heads: int
    key: int
    value: int
    convolution: Convolution
    norm: Norm
    tiled: bool = False
    scores: Literal["by key head", "apart"] = "apart"

    def emit(self, b: Builder, prefix: str, x: View, out: View, residual: View | None = None) -> None:
        """Write the mixed rows of x, plus residual, to out."""
        keys, values = self.key_heads * self.key, self.heads * self.value
        qkvz = b.buffer("qkvz", 2 * keys + 2 * values)
        qkv, z = qkvz.part(0, 2 * keys + values), qkvz.part(2 * keys + values, values)
        b.linear(x, qkvz, [(f"{prefix}attn_qkv", qkv.width), (f"{prefix}attn_gate", values)])
        beta, alpha = self._scores(b, prefix, x)
        b.add(ops.Activate(beta, beta, "sigmoid"))
        b.add(ops.Softplus(alpha, alpha, b.weight(f"{prefix}ssm_dt.bias", self.heads)))
        self.convolution.emit(b, f"{prefix}ssm_conv1d", qkv, qkv)
        q, k, v = qkv.part(0, keys), qkv.part(keys, keys), qkv.part(2 * keys, values)
        # x / sqrt(sum(x^2) + eps) is a mean-square norm with eps / n, divided by sqrt(n); queries are divided by sqrt(n) once more.
        both = qkv.part(0, 2 * keys)
        b.add(ops.Norm(both, both, None, UNIT_EPS / self.key, groups=2 * self.key_heads))
        b.add(ops.Scale(q, q, 1 / self.key))
        b.add(ops.Scale(k, k, self.key**-0.5))
        y, a = b.buffer("ssm", values), b.weight(f"{prefix}ssm_a", self.heads)
        state = b.state(self.heads, self.key, self.value)
        b.add(ops.DeltaRule(q, k, v, beta, alpha, y, a, self.heads, self.key_heads, state, self.tiled))
        self.norm.emit(b, y, y, f"{prefix}ssm_norm", self.heads)
        b.add(ops.Gate(z, y, y, "silu"))
        b.linear(y, out, [(f"{prefix}ssm_out", out.width)], residual)

    def _scores(self, b: Builder, prefix: str, x: View) -> tuple[View, View]:
        """Beta and alpha, one of each per head."""
        n, share = self.heads, self.heads // self.key_heads
        scores = b.buffer("scores", 2 * n)
        if self.scores == "apart":
            b.linear(x, scores, [(f"{prefix}ssm_beta", n), (f"{prefix}ssm_alpha", n)])
        else:
            mixed = b.buffer("ba", 2 * n)
            b.linear(x, mixed, [(f"{prefix}ssm_ba", 2 * n)])
            b.add(ops.Arrange(mixed, scores, share, (*range(0, 2 * self.key_heads, 2), *range(1, 2 * self.key_heads, 2))))
        return scores.part(0, n), scores.part(n, n)
