"""Nomic Embed (arXiv:2402.01613): BERT with rope in place of learned positions, and SwiGLU."""

from __future__ import annotations

from edgerun.models.components import Attention, Embedding, FeedForward, Norm, PostNormLayer
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Post-norm encoder with rope."""
    norm = Norm("layer", h.layer_norm_eps())
    attention = Attention(h.heads(), h.rope("halves"), causal=h.flag("attention.causal", False))
    layer = PostNormLayer(attention, FeedForward(h.count("feed_forward_length"), "silu"), norm)
    return h.spec([layer] * h.n_layer, h.encoded(), Embedding(types=h.has("token_types.weight"), norm=norm))
