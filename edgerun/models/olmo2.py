"""OLMo 2 (arXiv:2501.00656): norms only after attention and feed-forward, and over the whole of q and of k."""

from __future__ import annotations

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm, QKNorm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Post-norm decoder with SwiGLU."""
    norm = Norm("rms", h.eps())
    attention = Attention(h.heads(), h.rope("halves"), QKNorm(norm, over="all"))
    feed_forward = FeedForward(h.count("feed_forward_length"), "silu")
    layer = Layer(attention, feed_forward, norm, None, None, "post_attention_norm", "post_ffw_norm")
    return h.spec([layer] * h.n_layer, Head(norm))
