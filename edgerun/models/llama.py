"""Llama 1-3 (arXiv:2302.13971, 2307.09288, 2407.21783) and what shares its files: Mistral, Mixtral (arXiv:2401.04088), SmolLM,
TinyLlama, Yi.

The converter permutes the rows of q and k, so the rope turns neighbours.
"""

from __future__ import annotations

from edgerun.models.components import Attention, Experts, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU, of several experts where the file has some."""
    norm, width = Norm("rms", h.eps()), h.count("feed_forward_length")
    mixed = h.count("expert_count", 0, least=0) > 0
    feed_forward = Experts(h.routing("softmax", normalise=0.0), width) if mixed else FeedForward(width, "silu")
    # Mistral 7B v0.1 was trained with a window, which few of its files state.
    layer = Layer(Attention(h.heads(), h.rope("neighbours"), window=h.window()), feed_forward, norm)
    return h.spec([layer] * h.n_layer, Head(norm))
