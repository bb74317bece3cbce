"""Gemma 2 (arXiv:2408.00118): sliding and global layers take turns, soft caps on scores and logits, norms before and after.

The file's norm weights hold 1 + w, and its token table is not scaled yet.
"""

from __future__ import annotations

import math
from dataclasses import replace

from edgerun.models.components import Attention, Embedding, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Decoder of sliding and global layers with GeGLU."""
    norm, heads = Norm("rms", h.eps()), h.heads()
    # No key holds query_pre_attn_scalar: it is the key width, but n_embd / heads in the 27B, the one with 46 layers.
    scale = 1 / math.sqrt(h.n_embd // heads.queries) if h.n_layer == 46 else None
    attention = Attention(heads, h.rope("halves"), scale=scale, softcap=h.positive("attn_logit_softcapping", 50.0))
    feed_forward = FeedForward(h.count("feed_forward_length"), "gelu")
    everywhere = Layer(attention, feed_forward, norm, post_attn_norm="post_attention_norm", post_ffn_norm="post_ffw_norm")
    sliding = replace(everywhere, attention=replace(attention, window=h.window()))
    layers = [sliding if slides else everywhere for slides in h.sliding(2)]
    return h.spec(layers, Head(norm, softcap=h.positive("final_logit_softcapping", 30.0)), Embedding(math.sqrt(h.n_embd)))
