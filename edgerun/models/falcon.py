"""Falcon (arXiv:2311.16867): attention and a plain feed-forward side by side, few key/value heads, q, k, v in one matrix.

The 7B has one layer norm for both halves; the 40B and the 180B have two, of which the file calls the one before attention
attn_norm_2 and the one before the feed-forward attn_norm.
"""

from __future__ import annotations

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Parallel decoder with GELU."""
    norm = Norm("layer", h.layer_norm_eps())
    attention, feed_forward = Attention(h.heads(), h.rope("halves")), FeedForward(h.count("feed_forward_length"), "gelu_erf", "plain")
    two = h.has("blk.0.attn_norm_2.weight")
    layer = Layer(attention, feed_forward, norm, "attn_norm_2" if two else "attn_norm", "attn_norm" if two else None, parallel=True)
    return h.spec([layer] * h.n_layer, Head(norm))
