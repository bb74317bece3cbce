"""MPT (huggingface.co/mosaicml/mpt-7b): ALiBi, or learned positions in a few models of other makers; no biases, where the file
brings none; q, k and v in one matrix and cut off at clamp_kqv.

q and k are normalised, the whole projection at once, where the file has weights for it.
"""

from __future__ import annotations

from edgerun.models.components import Alibi, Attention, Embedding, FeedForward, Head, Layer, Norm, QKNorm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with the exact GELU."""
    norm, steepest = Norm("layer", h.layer_norm_eps()), h.optional("attention.max_alibi_bias")
    qk_norm = QKNorm(norm, "all") if h.has("blk.0.attn_q_norm.weight") else None
    alibi = Alibi(steepest) if steepest else None
    attention = Attention(h.heads(), qk_norm=qk_norm, alibi=alibi, clamp=h.optional("attention.clamp_kqv"))
    layer = Layer(attention, FeedForward(h.count("feed_forward_length"), "gelu_erf", "plain"), norm)
    embedding = Embedding(positions=h.context if h.has("position_embd.weight") else None)
    return h.spec([layer] * h.n_layer, Head(norm), embedding)
