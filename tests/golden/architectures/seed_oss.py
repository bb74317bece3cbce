"""Seed-OSS: a name of its own for the norm before the feed-forward, biases of q, k and v."""

from __future__ import annotations

from typing import Any

from dense import CONFIG, EMBD, LAYERS, NAMES, metadata, shapes
from make import Case, Tensors, renamed


def model() -> Any:
    """The checkpoint's own code."""
    from transformers import SeedOssConfig, SeedOssForCausalLM

    rope = {"rope_type": "default", "rope_theta": 10000.0}
    return SeedOssForCausalLM(SeedOssConfig(**CONFIG, attention_bias=True, attention_out_bias=False, mlp_bias=False, rope_parameters=rope))


def state(t: Tensors) -> Tensors:
    """Names."""
    return renamed(t, LAYERS, NAMES | {"post_attention_norm.weight": "post_attention_layernorm.weight"})


CASES = {
    "seed_oss": Case(
        "seed_oss",
        model,
        metadata(),
        shapes(without=("ffn_norm",), biases=("attn_q", "attn_k", "attn_v"), post_attention_norm=(EMBD,)),
        state,
    ),
}
