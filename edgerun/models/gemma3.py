"""Gemma 3 (arXiv:2503.19786): five sliding layers with a rope of their own to each global one, norms before and after.

The file's norm weights hold 1 + w, and its token table is not scaled yet.
"""

from __future__ import annotations

import math
from dataclasses import replace

from edgerun.models.components import Attention, Embedding, FeedForward, Head, Layer, Norm, QKNorm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Decoder of sliding and global layers with GeGLU."""
    norm, heads, window, rope = Norm("rms", h.eps()), h.heads(), h.window(), h.rope("halves")
    # No key holds query_pre_attn_scalar: it is the key width, but n_embd / heads in the 27B, the one with 62 layers.
    scale = 1 / math.sqrt(h.n_embd // heads.queries) if h.n_layer == 62 else None
    attention = Attention(heads, rope, QKNorm(norm), scale=scale)
    feed_forward = FeedForward(h.count("feed_forward_length"), "gelu")
    everywhere = Layer(attention, feed_forward, norm, post_attn_norm="post_attention_norm", post_ffn_norm="post_ffw_norm")
    # Scaling stretches the global rope only.
    sliding = replace(everywhere, attention=replace(attention, rope=h.near_rope(heads.key), window=window))
    layers = [sliding if slides else everywhere for slides in h.sliding(6)]
    return h.spec(layers, Head(norm, softcap=h.optional("final_logit_softcapping")), Embedding(math.sqrt(h.n_embd)))
