"""EXAONE 3 and 3.5 (arXiv:2408.03541, 2412.04862): Llama with a rope that turns halves."""

from __future__ import annotations

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU."""
    norm = Norm("rms", h.eps())
    layer = Layer(Attention(h.heads(), h.rope("halves")), FeedForward(h.count("feed_forward_length"), "silu"), norm)
    return h.spec([layer] * h.n_layer, Head(norm))
