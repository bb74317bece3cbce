"""GLM-4V's text: rope.dimension_sections, for which the converter brings the turned rows of q and k into halves. No biases."""

from __future__ import annotations

from typing import Any

import numpy as np
from dense import CONFIG, EMBD, FFN, HEADS, KV, LAYERS, NAMES, WIDTH, metadata, shapes
from make import Case, Tensors, renamed

TURNED = WIDTH // 2


def model() -> Any:
    """The checkpoint's own code, of GLM-4: without images the two are the same."""
    from transformers import Glm4Config, Glm4ForCausalLM

    rope = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    return Glm4ForCausalLM(Glm4Config(**CONFIG, attention_bias=False, rope_parameters=rope))


def state(t: Tensors) -> Tensors:
    """Names, and the turned rows of q and k as neighbours."""
    for i in range(LAYERS):
        for name, heads in (("attn_q", HEADS), ("attn_k", KV)):
            rows = t[f"blk.{i}.{name}.weight"].reshape(heads, WIDTH, EMBD)
            turned = rows[:, :TURNED].reshape(heads, 2, TURNED // 2, EMBD).swapaxes(1, 2).reshape(heads, TURNED, EMBD)
            t[f"blk.{i}.{name}.weight"] = np.concatenate([turned, rows[:, TURNED:]], 1).reshape(-1, EMBD)
    own = {
        "ffn_up.weight": "mlp.gate_up_proj.weight",
        "post_attention_norm.weight": "post_self_attn_layernorm.weight",
        "post_ffw_norm.weight": "post_mlp_layernorm.weight",
    }
    return renamed(t, LAYERS, NAMES | own)


CASES = {
    "glm4-sections": Case(
        "glm4",
        model,
        metadata(rope__dimension_count=TURNED, rope__dimension_sections=[1, 2, 1, 0]),
        shapes(without=("ffn_gate",), ffn_up=(2 * FFN, EMBD), post_attention_norm=(EMBD,), post_ffw_norm=(EMBD,)),
        state,
    ),
}
