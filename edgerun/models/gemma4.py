"""Gemma 4 (huggingface.co/google/gemma-4-E2B-it, gemma-4-31B-it): sliding and global layers with heads of their own widths.

Global layers may use keys as values and turn only the first pairs of a head: rope_freqs.weight, which is theirs alone, divides
the others by 1e30. Small models have a table for each layer, and last layers that read the keys and values of earlier ones.
The 26B-A4B has experts beside its feed-forward, both between norms of their own.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from edgerun.models.components import (
    Attention,
    Both,
    Embedding,
    Experts,
    FeedForward,
    Head,
    Heads,
    Layer,
    Norm,
    Normed,
    Part,
    PerLayerEmbedding,
    PerLayerInput,
    QKNorm,
)
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Decoder of sliding and global layers with GeGLU."""
    norm, sliding, memories = Norm("rms", h.eps()), h.sliding(6), h.memories(h.sliding(6))
    narrow, widths = h.count("embedding_length_per_layer_input", 0, least=0), h.counts("feed_forward_length")
    attentions, experts = _attentions(h, norm, sliding), _experts(h, norm)
    layers = [
        Layer(
            # Keys and values are shared, so their number is that of the layer they come from.
            attentions[i if memory is None else memory].reading(memory),
            _beside(FeedForward(width, "gelu"), experts, norm), norm,
            ffn_norm=None if experts else "ffn_norm",
            post_attn_norm="post_attention_norm", post_ffn_norm="post_ffw_norm",
            extra=PerLayerInput(i, narrow) if narrow else None,
            scale=h.scalar(f"blk.{i}.layer_output_scale.weight", 1.0),
        )
        for i, (memory, width) in enumerate(zip(memories, widths, strict=True))
    ]  # fmt: skip
    tokens = Embedding(math.sqrt(h.n_embd))
    embedding = PerLayerEmbedding(tokens, h.n_layer, narrow, norm) if narrow else tokens
    return h.spec(layers, Head(norm, softcap=h.optional("final_logit_softcapping")), embedding)


def _experts(h: Hyperparameters, norm: Norm) -> Part | None:
    """The experts of every layer; None in a model without."""
    if not h.count("expert_count", 0, least=0):
        return None
    routing = replace(h.routing("softmax", normalise=0.0), factors="ffn_down_exps.scale", norm=norm)
    return Normed(Experts(routing, h.count("expert_feed_forward_length"), "gelu", norm=norm), norm, after="post_ffw_norm_2")


def _beside(feed_forward: FeedForward, experts: Part | None, norm: Norm) -> Part:
    """The feed-forward, with experts that read the same stream beside it."""
    return Both(Normed(feed_forward, norm, after="post_ffw_norm_1", before="ffn_norm"), experts) if experts else feed_forward


def _attentions(h: Hyperparameters, norm: Norm, sliding: tuple[bool, ...]) -> list[Attention]:
    """The attention of each layer, as if its keys and values were its own. Scores are not scaled."""
    kv = h.counts("attention.head_count_kv", h.count("attention.head_count"))
    far = h.heads(kv[-1])
    near = Heads(far.queries, far.kv, h.count("attention.key_length_swa", far.key), h.count("attention.value_length_swa", far.value))
    common = Attention(far, h.rope("halves", far), QKNorm(norm), scale=1.0, value_norm=replace(norm, bare=True))
    sliding_one = replace(common, heads=near, rope=h.near_rope(near.key), window=h.window())
    attentions = []
    for i, slides in enumerate(sliding):
        kind = sliding_one if slides else common
        values: Literal["own", "keys"] = "own" if h.has(f"blk.{i}.attn_v.weight") else "keys"
        attentions.append(replace(kind, heads=replace(kind.heads, kv=kv[i]), values=values))
    return attentions
