"""GLM-4.5 (arXiv:2508.06471): the first layers dense, then experts ranked by the sigmoid of their scores plus a bias, and a shared one.

The file's last layers guess the tokens after the next one; they are not computed, as in llama.cpp.
"""

from __future__ import annotations

from dataclasses import replace

from edgerun.models.components import Attention, Experts, FeedForward, Head, Layer, Norm, QKNorm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU; what the file calls post_attention_norm comes before the feed-forward."""
    norm = Norm("rms", h.eps())
    layers, dense = h.layers(), h.count("leading_dense_block_count", 0, least=0)
    attention = Attention(h.heads(), h.rope("halves"), QKNorm(norm) if h.has("blk.0.attn_q_norm.weight") else None)
    width, shared = h.count("expert_feed_forward_length"), h.count("expert_shared_count", 0, least=0)
    routing = h.routing("sigmoid", 1e-20, bias="exp_probs_b.bias")
    experts = Experts(routing, width, shared=FeedForward(width * shared, "silu", suffix="_shexp") if shared else None)
    later = Layer(attention, experts, norm, ffn_norm="post_attention_norm")
    first = replace(later, feed_forward=FeedForward(h.count("feed_forward_length"), "silu"))
    return h.spec([first if i < dense else later for i in range(layers)], Head(norm))
