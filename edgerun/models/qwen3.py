"""Qwen3 (arXiv:2505.09388): each head of q and k is normalised. Its rerankers (arXiv:2506.05176) score two labels, yes and no."""

from __future__ import annotations

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm, QKNorm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU."""
    norm = Norm("rms", h.eps())
    attention = Attention(h.heads(), h.rope("halves"), QKNorm(norm))
    layer = Layer(attention, FeedForward(h.count("feed_forward_length"), "silu"), norm)
    return h.spec([layer] * h.n_layer, h.classifier(norm) or Head(norm))
