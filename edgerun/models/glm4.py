"""GLM-4-0414 (arXiv:2406.12793, huggingface.co/zai-org/GLM-4-9B-0414): norms before and after, rope on half of each head.

Files of GLM-4V carry rope.dimension_sections, and q and k in the order of halves. In text the sections all turn by the same
position, so the rope is the plain one.
"""

from __future__ import annotations

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Decoder with four norms per layer and SwiGLU; biases on q, k and v are the file's."""
    norm = Norm("rms", h.eps())
    attention = Attention(h.heads(), h.rope("halves" if h.sections() else "neighbours"))
    feed_forward = FeedForward(h.count("feed_forward_length"), "silu", "fused")
    layer = Layer(attention, feed_forward, norm, post_attn_norm="post_attention_norm", post_ffn_norm="post_ffw_norm")
    return h.spec([layer] * h.n_layer, Head(norm))
