"""Gemma 3n (huggingface.co/google/gemma-3n-E4B-it): alternating updates, a table for each layer, a second way past the attention.

The first layers keep only what sticks out of the gate; the last ones read keys and values of the last layer before them that
attends as they do. Scores are not scaled: queries, keys and values are normalised, the latter without weights.
"""

from __future__ import annotations

import math
from dataclasses import replace

from edgerun.models.components import Attention, Embedding, FeedForward, Head, Laurel, Layer, Norm, PerLayerEmbedding, PerLayerInput, QKNorm
from edgerun.models.components.altup import AltUp, AltUpEmbedding, AltUpHead, AltUpLayer
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Decoder of sliding and global layers with sparse GeGLU over several streams."""
    norm, heads, sliding = Norm("rms", h.eps()), h.heads(), h.sliding(5)
    count = h.count("altup.num_inputs", least=2, most=64)
    altup = AltUp(count, h.count("altup.active_idx", 0, least=0, most=count - 1))
    laurel = Laurel(h.rows("blk.0.laurel_l.weight"), norm)   # no key states the rank
    everywhere = Attention(heads, h.rope("halves"), QKNorm(norm), scale=1.0, value_norm=replace(norm, bare=True))
    near = replace(everywhere, rope=h.near_rope(heads.key), window=h.window())
    narrow, widths = h.count("embedding_length_per_layer_input"), h.counts("feed_forward_length")
    cutoffs = h.by_layer("activation_sparsity_scale", -math.inf, 1e3)   # -inf: all of the gate passes
    layers = [
        AltUpLayer(
            Layer(
                (near if slides else everywhere).reading(memory),
                FeedForward(width, "gelu", cutoff=None if cutoff == -math.inf else cutoff),
                norm, post_attn_norm="post_attention_norm", post_ffn_norm="post_ffw_norm", laurel=laurel,
            ),
            altup, PerLayerInput(i, narrow), norm,
        )
        for i, (slides, memory, width, cutoff) in enumerate(zip(sliding, h.memories(sliding), widths, cutoffs, strict=True))
    ]  # fmt: skip
    embedding = PerLayerEmbedding(Embedding(math.sqrt(h.n_embd)), h.n_layer, narrow, norm)
    # Files that lack the key are older than it, and the model always had the cap.
    head = Head(norm, softcap=h.positive("final_logit_softcapping", 30.0))
    return h.spec(layers, AltUpHead(head, altup), AltUpEmbedding(embedding, altup))
