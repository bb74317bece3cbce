"""Hunyuan, dense: norms of q and k after the rope, whose base is stretched by alpha."""

from __future__ import annotations

from typing import Any

from dense import CONFIG, LAYERS, NAMES, WIDTH, metadata, shapes
from make import Case, Tensors, renamed

ALPHA = 50.0


def model() -> Any:
    """The checkpoint's own code."""
    from transformers import HunYuanDenseV1Config, HunYuanDenseV1ForCausalLM

    rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "alpha": ALPHA, "factor": 1.0}
    return HunYuanDenseV1ForCausalLM(HunYuanDenseV1Config(**CONFIG, rope_parameters=rope))


def state(t: Tensors) -> Tensors:
    """Names."""
    return renamed(t, LAYERS, NAMES | {"attn_q_norm.weight": "self_attn.query_layernorm.weight", "attn_k_norm.weight": "self_attn.key_layernorm.weight"})


CASES = {
    "hunyuan-dense": Case(
        "hunyuan-dense",
        model,
        metadata(
            rope__freq_base=10000.0 * ALPHA ** (WIDTH / (WIDTH - 2)),
            rope__scaling__type="none",
            rope__scaling__factor=1.0,
            rope__scaling__original_context_length=256 * 1024,
            context_length=256 * 1024,
        ),
        shapes(attn_q_norm=(WIDTH,), attn_k_norm=(WIDTH,)),
        state,
    ),
}
