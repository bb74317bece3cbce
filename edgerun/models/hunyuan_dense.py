"""Hunyuan, dense (huggingface.co/tencent/Hunyuan-7B-Instruct): each head of q and k is normalised after the rope.

The converter has put alpha, which stretches the rope for long contexts, into rope.freq_base.
"""

from __future__ import annotations

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm, QKNorm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU."""
    norm = Norm("rms", h.eps())
    attention = Attention(h.heads(), h.rope("halves"), QKNorm(norm, after_rope=True))
    layer = Layer(attention, FeedForward(h.count("feed_forward_length"), "silu"), norm)
    return h.spec([layer] * h.n_layer, Head(norm))
