"""StableLM 3B (huggingface.co/stabilityai/stablelm-3b-4e1t) and StableLM 2 (arXiv:2402.17834): layer norms, a rope over part of
each head.

StableLM 2 12B has attention and feed-forward side by side behind one norm, and normalises q and k with weights of their own
for each head. `use_parallel_residual` is true in files of sequential models too: the tensors tell.
"""

from __future__ import annotations

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm, QKNorm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Sequential or parallel decoder with SwiGLU."""
    norm = Norm("layer", h.layer_norm_eps())
    h.get("use_parallel_residual")
    parallel = not h.has("blk.0.ffn_norm.weight")
    qk_norm = QKNorm(norm, "own") if h.has("blk.0.attn_q_norm.weight") else None
    attention = Attention(h.heads(), h.rope("halves"), qk_norm)
    feed_forward = FeedForward(h.count("feed_forward_length"), "silu")
    layer = Layer(attention, feed_forward, norm, ffn_norm=None if parallel else "ffn_norm", parallel=parallel)
    return h.spec([layer] * h.n_layer, Head(norm))
