"""The first three Gemmas: what the model files kept whole do not have."""

from __future__ import annotations

from typing import Any

import numpy as np
from make import Case, Tensors, per_layer, renamed

VOCAB, EMBD, FF, HEADS, KV, WIDTH = 96, 32, 40, 4, 2, 16
NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
PLAIN = NAMES | {"ffn_norm.weight": "post_attention_layernorm.weight"}
SANDWICH = NAMES | {
    "attn_q_norm.weight": "self_attn.q_norm.weight",
    "attn_k_norm.weight": "self_attn.k_norm.weight",
    "post_attention_norm.weight": "post_attention_layernorm.weight",
    "ffn_norm.weight": "pre_feedforward_layernorm.weight",
    "post_ffw_norm.weight": "post_feedforward_layernorm.weight",
}


def config(cls: type, **more: Any) -> Any:
    """The configuration that all share."""
    return cls(
        vocab_size=VOCAB,
        hidden_size=EMBD,
        intermediate_size=FF,
        num_attention_heads=HEADS,
        num_key_value_heads=KV,
        head_dim=WIDTH,
        max_position_embeddings=128,
        attn_implementation="eager",
        **more,
    )


def metadata(layers: int, **more: Any) -> dict[str, Any]:
    """The keys that all share; "__" stands for "."."""
    return {
        "block_count": layers,
        "context_length": 128,
        "embedding_length": EMBD,
        "feed_forward_length": FF,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KV,
        "attention.key_length": WIDTH,
        "attention.value_length": WIDTH,
        "attention.layer_norm_rms_epsilon": 1e-6,
        **{key.replace("__", "."): value for key, value in more.items()},
    }


def shapes(layers: int, names: dict[str, str]) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in `names` and around the layers; the output matrix is the token table."""
    odd = {
        "attn_q.weight": (HEADS * WIDTH, EMBD),
        "attn_k.weight": (KV * WIDTH, EMBD),
        "attn_v.weight": (KV * WIDTH, EMBD),
        "attn_output.weight": (EMBD, HEADS * WIDTH),
        "attn_q_norm.weight": (WIDTH,),
        "attn_k_norm.weight": (WIDTH,),
        "ffn_gate.weight": (FF, EMBD),
        "ffn_up.weight": (FF, EMBD),
        "ffn_down.weight": (EMBD, FF),
    }
    return {"token_embd.weight": (VOCAB, EMBD), "output_norm.weight": (EMBD,), **per_layer(layers, {name: odd.get(name, (EMBD,)) for name in names})}


def shifted(layers: int, names: dict[str, str]) -> Any:
    """The way back to a checkpoint whose norm weights hold what is added to 1."""

    def state(t: Tensors) -> Tensors:
        return renamed({name: np.subtract(value, 1.0) if "norm" in name else value for name, value in t.items()}, layers, names)

    return state


def gemma() -> Any:
    """Two layers."""
    from transformers import GemmaConfig, GemmaForCausalLM

    return GemmaForCausalLM(config(GemmaConfig, num_hidden_layers=2))


def gemma3(layers: int, **more: Any) -> Any:
    """The checkpoint's own code."""
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    return Gemma3ForCausalLM(config(Gemma3TextConfig, num_hidden_layers=layers, query_pre_attn_scalar=WIDTH, **more))


def scaled() -> Any:
    """As in the 4B: the rope of the global layers is stretched, that of the sliding ones is not."""
    ropes = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    return gemma3(6, sliding_window=16, rope_parameters=ropes)


def global_only() -> Any:
    """As in Rnj-1: no layer slides, YaRN, capped logits."""
    yarn = {"rope_type": "yarn", "factor": 2.0, "beta_fast": 2.0, "beta_slow": 1.0, "original_max_position_embeddings": 64, "rope_theta": 1e4}
    ropes = {"full_attention": yarn, "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}
    return gemma3(2, layer_types=["full_attention"] * 2, rope_parameters=ropes, final_logit_softcapping=4.0)


CASES = {
    "gemma": Case("gemma", gemma, metadata(2), shapes(2, PLAIN), shifted(2, PLAIN), spreads=[("token_embd.weight", 0.0, 0.3)]),
    "gemma3-linear": Case(
        "gemma3",
        scaled,
        metadata(6, rope__freq_base=1e6, rope__freq_base_swa=1e4, rope__scaling__type="linear", rope__scaling__factor=8.0, attention__sliding_window=16),
        shapes(6, SANDWICH),
        shifted(6, SANDWICH),
        windows=(16,),
        spreads=[("token_embd.weight", 0.0, 0.3)],
    ),
    "gemma3-global": Case(
        "gemma3",
        global_only,
        metadata(
            2,
            rope__freq_base=1e4,
            rope__freq_base_swa=1e4,
            rope__scaling__type="yarn",
            rope__scaling__factor=2.0,
            rope__scaling__original_context_length=64,
            rope__scaling__yarn_beta_fast=2.0,
            rope__scaling__yarn_beta_slow=1.0,
            final_logit_softcapping=4.0,
        ),
        shapes(2, SANDWICH),
        shifted(2, SANDWICH),
        spreads=[("token_embd.weight", 0.0, 0.3)],
    ),
}
