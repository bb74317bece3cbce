"""OLMo 3: sliding layers with a plain rope, global ones with YaRN, whose attention factor the file states."""

from __future__ import annotations

from typing import Any

from dense import CONFIG, EMBD, HEADS, KV, NAMES, metadata, shapes
from make import Case, Tensors, renamed

LAYERS, WINDOW, WIDTH = 4, 16, EMBD // HEADS


def model() -> Any:
    """The checkpoint's own code."""
    from transformers import Olmo3Config, Olmo3ForCausalLM

    yarn = {"rope_type": "yarn", "rope_theta": 500000.0, "factor": 8.0, "original_max_position_embeddings": 64, "attention_factor": 1.3}
    rope = {"sliding_attention": {"rope_type": "default", "rope_theta": 500000.0}, "full_attention": yarn}
    own = {"head_dim": WIDTH, "num_hidden_layers": LAYERS}
    return Olmo3ForCausalLM(Olmo3Config(**CONFIG | own, sliding_window=WINDOW, rope_parameters=rope))


def state(t: Tensors) -> Tensors:
    """Names."""
    own = {"post_attention_norm.weight": "post_attention_layernorm.weight", "post_ffw_norm.weight": "post_feedforward_layernorm.weight"}
    return renamed(t, LAYERS, NAMES | own)


CASES = {
    "olmo3": Case(
        "olmo2",
        model,
        metadata(
            block_count=LAYERS,
            attention__key_length=None,
            attention__value_length=None,
            rope__freq_base=500000.0,
            rope__freq_base_swa=500000.0,
            rope__scaling__type="yarn",
            rope__scaling__factor=8.0,
            rope__scaling__original_context_length=64,
            rope__scaling__yarn_attn_factor=1.3,
            attention__sliding_window=WINDOW,
            attention__sliding_window_pattern=[True, True, True, False],
        ),
        shapes(
            layers=LAYERS,
            width=WIDTH,
            without=("attn_norm", "ffn_norm"),
            post_attention_norm=(EMBD,),
            post_ffw_norm=(EMBD,),
            attn_q_norm=(HEADS * WIDTH,),
            attn_k_norm=(KV * WIDTH,),
        ),
        state,
        windows=(WINDOW,),
    ),
}
