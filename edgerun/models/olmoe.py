"""OLMoE (arXiv:2409.02060): 64 small experts whose weights are not normalised; norms over the whole of q and of k."""

from __future__ import annotations

from edgerun.models.components import Attention, Experts, Head, Layer, Norm, QKNorm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU experts."""
    norm = Norm("rms", h.eps())
    attention = Attention(h.heads(), h.rope("halves"), QKNorm(norm, over="all"))
    layer = Layer(attention, Experts(h.routing("softmax"), h.count("feed_forward_length")), norm)
    return h.spec([layer] * h.n_layer, Head(norm))
