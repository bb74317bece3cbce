"""Command R (huggingface.co/CohereForAI/c4ai-command-r-v01): attention and feed-forward side by side behind one layer norm.

Command R+ normalises q and k with weights of their own for each head.
"""

from __future__ import annotations

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm, QKNorm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Parallel decoder with SwiGLU and scaled logits."""
    norm = Norm("layer", h.layer_norm_eps())
    qk_norm = QKNorm(norm, "own") if h.has("blk.0.attn_q_norm.weight") else None
    attention = Attention(h.heads(), h.rope("neighbours"), qk_norm)
    layer = Layer(attention, FeedForward(h.count("feed_forward_length"), "silu"), norm, ffn_norm=None, parallel=True)
    return h.spec([layer] * h.n_layer, Head(norm, scale=h.optional("logit_scale") or 1.0))
