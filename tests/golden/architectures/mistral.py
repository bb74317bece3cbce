"""Mistral with its window, and Ministral 3, whose queries grow beyond the first context."""

from __future__ import annotations

from typing import Any

from dense import NAMES
from make import Case, Tensors, per_layer, renamed, unpermuted

LAYERS, VOCAB, EMBD, FF, HEADS, KV, WIDTH = 2, 96, 32, 40, 4, 2, 16
COMMON = {
    "vocab_size": VOCAB,
    "hidden_size": EMBD,
    "intermediate_size": FF,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV,
    "head_dim": WIDTH,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "attn_implementation": "eager",
}
METADATA = {
    "block_count": LAYERS,
    "context_length": 128,
    "embedding_length": EMBD,
    "feed_forward_length": FF,
    "attention.head_count": HEADS,
    "attention.head_count_kv": KV,
    "attention.key_length": WIDTH,
    "attention.value_length": WIDTH,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.dimension_count": WIDTH,
    "rope.freq_base": 10000.0,
}
SHAPES = {
    "token_embd.weight": (VOCAB, EMBD),
    "output_norm.weight": (EMBD,),
    "output.weight": (VOCAB, EMBD),
    **per_layer(
        LAYERS,
        {
            "attn_norm.weight": (EMBD,),
            "attn_q.weight": (HEADS * WIDTH, EMBD),
            "attn_k.weight": (KV * WIDTH, EMBD),
            "attn_v.weight": (KV * WIDTH, EMBD),
            "attn_output.weight": (EMBD, HEADS * WIDTH),
            "ffn_norm.weight": (EMBD,),
            "ffn_gate.weight": (FF, EMBD),
            "ffn_up.weight": (FF, EMBD),
            "ffn_down.weight": (EMBD, FF),
        },
    ),
}


def mistral() -> Any:
    """As the first Mistral 7B."""
    from transformers import MistralConfig, MistralForCausalLM

    return MistralForCausalLM(MistralConfig(**COMMON, sliding_window=16))


def ministral3(mscale: float) -> Any:
    """mscale: multiplies the logarithm in the divisor of YaRN's factor; where it is 1 nothing is left of that."""
    from transformers import Ministral3Config, Ministral3ForCausalLM

    yarn = {
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "original_max_position_embeddings": 16,
        "beta_fast": 0.5,
        "beta_slow": 0.05,
        "mscale": 1.0,
        "mscale_all_dim": mscale,
        "llama_4_scaling_beta": 0.7,
    }
    return Ministral3ForCausalLM(Ministral3Config(**COMMON, rope_parameters=yarn))


def state(t: Tensors) -> Tensors:
    """Names, and q and k in the checkpoint's order."""
    for i in range(LAYERS):
        t[f"blk.{i}.attn_q.weight"] = unpermuted(t[f"blk.{i}.attn_q.weight"], HEADS)
        t[f"blk.{i}.attn_k.weight"] = unpermuted(t[f"blk.{i}.attn_k.weight"], KV)
    return renamed(t, LAYERS, NAMES)


def scaled(multiplier: float) -> Case:
    """Ministral 3 with this multiplier."""
    scaling = {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 8.0,
        "rope.scaling.original_context_length": 16,
        "rope.scaling.yarn_beta_fast": 0.5,
        "rope.scaling.yarn_beta_slow": 0.05,
        "rope.scaling.yarn_log_multiplier": multiplier,
        "attention.temperature_scale": 0.7,
    }
    return Case("mistral3", lambda: ministral3(multiplier), METADATA | scaling, SHAPES, state, windows=(16, 32))


CASES = {
    "llama-window": Case("llama", mistral, METADATA | {"attention.sliding_window": 16}, SHAPES, state, windows=(16,)),
    "mistral3": scaled(1.0),
    "mistral3-multiplier": scaled(0.5),
}
