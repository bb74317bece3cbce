"""Seed-OSS (huggingface.co/ByteDance-Seed/Seed-OSS-36B-Instruct): the file calls the norm before the feed-forward post_attention_norm."""

from __future__ import annotations

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU; biases on q, k and v are the file's."""
    norm = Norm("rms", h.eps())
    feed_forward = FeedForward(h.count("feed_forward_length"), "silu")
    layer = Layer(Attention(h.heads(), h.rope("halves")), feed_forward, norm, ffn_norm="post_attention_norm")
    return h.spec([layer] * h.n_layer, Head(norm))
