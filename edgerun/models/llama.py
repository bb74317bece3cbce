"""Llama 1-3 (arXiv:2302.13971, 2307.09288, 2407.21783) and what shares its files: Mistral, SmolLM, TinyLlama, Yi.

The converter permutes the rows of q and k, so the rope turns neighbours.
"""

from __future__ import annotations

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU."""
    norm = Norm("rms", h.eps())
    layer = Layer(Attention(h.heads(), h.rope("neighbours")), FeedForward(h.count("feed_forward_length"), "silu"), norm)
    return h.spec([layer] * h.n_layer, Head(norm))
