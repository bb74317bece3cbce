"""Phi-1, Phi-1.5 and Phi-2 (arXiv:2306.11644, 2309.05463; huggingface.co/microsoft/phi-2): attention and a plain feed-forward
side by side behind one layer norm, a rope over part of each head, biases everywhere.
"""

from __future__ import annotations

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Parallel decoder with GELU."""
    norm = Norm("layer", h.layer_norm_eps())
    attention = Attention(h.heads(), h.rope("halves"))
    layer = Layer(attention, FeedForward(h.count("feed_forward_length"), "gelu", "plain"), norm, ffn_norm=None, parallel=True)
    return h.spec([layer] * h.n_layer, Head(norm))
