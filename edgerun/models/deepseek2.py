"""DeepSeek-V2 and V3 (arXiv:2405.04434, 2412.19437) and what shares their files: V2-Lite, R1, Kimi K2, GLM-4.7-Flash.

Latent attention, the first layers dense, then experts with shared ones. V3 ranks experts by the sigmoid of their scores plus
a bias, V2 by their softmax; older files do not say which, but only V3's hold the bias. Of groups, V2 takes those with the best
expert; llama.cpp those with the best two, as in V3.
"""

from __future__ import annotations

import math
from dataclasses import replace

from edgerun.models.components import Experts, FeedForward, Head, LatentAttention, Layer, Norm, YarnScaling
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU."""
    norm = Norm("rms", h.eps())
    layers, dense = h.layers(), h.count("leading_dense_block_count", 0, least=0)
    first = Layer(_attention(h), FeedForward(h.count("feed_forward_length"), "silu"), norm)
    if dense >= layers:
        return h.spec([first] * layers, Head(norm))
    width, shared = h.count("expert_feed_forward_length"), h.count("expert_shared_count", 0, least=0)
    routing = h.routing("sigmoid" if h.has(f"blk.{dense}.exp_probs_b.bias") else "softmax", bias="exp_probs_b.bias")
    experts = Experts(routing, width, shared=FeedForward(width * shared, "silu", suffix="_shexp") if shared else None)
    return h.spec([first] * dense + [replace(first, feed_forward=experts)] * (layers - dense), Head(norm))


def _attention(h: Hyperparameters) -> LatentAttention:
    """key_length and value_length describe the memory; where the heads are not as wide as that, ..._mla does."""
    heads, rope = h.heads(), h.rope("neighbours")
    key, value = h.count("attention.key_length_mla", heads.key), h.count("attention.value_length_mla", heads.value)
    if rope.width >= key:
        raise h.wrong("rope.dimension_count", rope.width, f"less than the width of a key, {key}, is needed")
    growth, log_multiplier = 1.0, h.number("rope.scaling.yarn_log_multiplier", 0.0, most=100.0)
    if log_multiplier and isinstance(rope.scaling, YarnScaling):   # all scores grow with the length, instead of cos and sin
        growth = 1 + log_multiplier * math.log(rope.scaling.factor)
        rope = replace(rope, scaling=replace(rope.scaling, attention=1.0))
    inner = Norm("rms", 1e-6)   # the checkpoints' code knows no other eps there
    rank, q_rank = h.count("attention.kv_lora_rank"), h.count("attention.q_lora_rank", 0, least=0) or None
    return LatentAttention(heads.queries, rank, key - rope.width, value, rope, inner, growth**2 / math.sqrt(key), q_rank, h.temperature())
