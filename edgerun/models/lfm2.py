"""LFM2 (arXiv:2511.23404): gated short convolutions, and attention where the file gives a layer key/value heads.

The final norm is named token_embd_norm.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm, Part, QKNorm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.recurrent import short_convolution
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder of convolutions and attention with SwiGLU."""
    return decoder(h, [FeedForward(h.count("feed_forward_length"), "silu")] * h.n_layer)


def decoder(h: Hyperparameters, feed_forwards: Sequence[Part]) -> Spec:
    """An LFM2 with these feed-forwards, one for each layer."""
    norm, layers = Norm("rms", h.eps()), []
    for kv, feed_forward in zip(h.counts("attention.head_count_kv", least=0), feed_forwards, strict=True):
        heads = h.heads(kv) if kv else None
        mixer = Attention(heads, h.rope("halves", heads), QKNorm(norm)) if heads else short_convolution(h)
        layers.append(Layer(mixer, feed_forward, norm))
    return h.spec(layers, Head(norm, name="token_embd_norm"))
