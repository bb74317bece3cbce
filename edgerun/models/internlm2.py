"""InternLM2 and 2.5 (arXiv:2403.17297): Llama; the converter takes q, k and v apart and permutes q and k."""

from __future__ import annotations

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU."""
    norm = Norm("rms", h.eps())
    layer = Layer(Attention(h.heads(), h.rope("neighbours")), FeedForward(h.count("feed_forward_length"), "silu"), norm)
    return h.spec([layer] * h.n_layer, Head(norm))
