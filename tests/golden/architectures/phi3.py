"""Phi-3 for long contexts: LongRoPE on three quarters of each head; the last sequence is long enough for the long factors."""

from __future__ import annotations

import math
from typing import Any

from dense import CONFIG, EMBD, FFN, HEADS, KV, LAYERS, NAMES, metadata, shapes
from make import Case, Tensors, renamed

WIDTH, CONTEXT, TRAINED = EMBD // HEADS, 256, 64
TURNED = 8
SHORT, LONG = [1.0, 1.1, 1.3, 1.6], [1.2, 2.0, 5.0, 11.0]


def model() -> Any:
    """The checkpoint's own code."""
    from transformers import Phi3Config, Phi3ForCausalLM

    # 0.7 of 12 columns are 8, as the converter rounds too.
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": SHORT, "long_factor": LONG, "partial_rotary_factor": 0.7}
    config = CONFIG | {"max_position_embeddings": CONTEXT}
    del config["head_dim"]
    return Phi3ForCausalLM(Phi3Config(**config, original_max_position_embeddings=TRAINED, rope_parameters=rope | {"original_max_position_embeddings": TRAINED}))


def state(t: Tensors) -> Tensors:
    """Names."""
    return renamed(t, LAYERS, NAMES | {"attn_qkv.weight": "self_attn.qkv_proj.weight", "ffn_up.weight": "mlp.gate_up_proj.weight"})


CASES = {
    "phi3-longrope": Case(
        "phi3",
        model,
        metadata(
            context_length=CONTEXT,
            attention__key_length=None,
            attention__value_length=None,
            attention__sliding_window=0,
            rope__dimension_count=TURNED,
            rope__scaling__original_context_length=TRAINED,
            rope__scaling__attn_factor=math.sqrt(1 + math.log(CONTEXT / TRAINED) / math.log(TRAINED)),
        ),
        {
            "rope_factors_long.weight": (TURNED // 2,),
            "rope_factors_short.weight": (TURNED // 2,),
            **shapes(without=("attn_q", "attn_k", "attn_v", "ffn_gate"), width=WIDTH, attn_qkv=((HEADS + 2 * KV) * WIDTH, EMBD), ffn_up=(2 * FFN, EMBD)),
        },
        state,
        values={"rope_factors_long.weight": LONG, "rope_factors_short.weight": SHORT},
    ),
}
