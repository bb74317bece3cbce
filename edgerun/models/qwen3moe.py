"""Qwen3-30B-A3B, Qwen3-235B-A22B (arXiv:2505.09388): Qwen3 with experts whose weights are normalised, none of them shared."""

from __future__ import annotations

from edgerun.models.components import Attention, Experts, Head, Layer, Norm, QKNorm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU experts; each head of q and k is normalised."""
    norm, routing = Norm("rms", h.eps()), h.routing("softmax", normalise=0.0)
    width = h.count("expert_feed_forward_length", max(1, h.count("feed_forward_length") // routing.used))
    layer = Layer(Attention(h.heads(), h.rope("halves"), QKNorm(norm)), Experts(routing, width), norm)
    return h.spec([layer] * h.n_layer, Head(norm))
