"""DeepSeek-V2 and V3 and GLM-4.7-Flash: latent attention, in files new and old, and the ways to choose experts."""

from __future__ import annotations

from typing import Any

import numpy as np
from dense import NAMES as DENSE
from make import Case, Tensors, per_layer, renamed

LAYERS, HEADS, EMBD, RANK, TURNED, STILL, VALUE, FF, WIDTH = 2, 3, 48, 24, 8, 12, 20, 40, 16
NAMES = {
    **DENSE,
    "attn_q_a.weight": "self_attn.q_a_proj.weight",
    "attn_q_a_norm.weight": "self_attn.q_a_layernorm.weight",
    "attn_q_b.weight": "self_attn.q_b_proj.weight",
    "attn_kv_a_mqa.weight": "self_attn.kv_a_proj_with_mqa.weight",
    "attn_kv_a_norm.weight": "self_attn.kv_a_layernorm.weight",
    "attn_kv_b.weight": "self_attn.kv_b_proj.weight",
    "ffn_gate_inp.weight": "mlp.gate.weight",
    "exp_probs_b.bias": "mlp.gate.e_score_correction_bias",
    "ffn_gate_up_exps.weight": "mlp.experts.gate_up_proj",
    "ffn_down_exps.weight": "mlp.experts.down_proj",
    "ffn_gate_shexp.weight": "mlp.shared_experts.gate_proj.weight",
    "ffn_up_shexp.weight": "mlp.shared_experts.up_proj.weight",
    "ffn_down_shexp.weight": "mlp.shared_experts.down_proj.weight",
}


def config(**more: Any) -> dict[str, Any]:
    """What all cases have."""
    return {
        "vocab_size": 96, "hidden_size": EMBD, "intermediate_size": FF, "moe_intermediate_size": WIDTH, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "kv_lora_rank": RANK, "qk_rope_head_dim": TURNED, "qk_nope_head_dim": STILL,
        "v_head_dim": VALUE, "first_k_dense_replace": 1, "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
        "attn_implementation": "eager", "experts_implementation": "eager", **more,
    }  # fmt: skip


def lite() -> Any:
    """V2-Lite: queries without a latent, YaRN."""
    from transformers import DeepseekV2Config, DeepseekV2ForCausalLM

    rope = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64, "mscale": 0.707, "mscale_all_dim": 0.707}
    more = {"q_lora_rank": None, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 2, "rope_parameters": rope}
    return DeepseekV2ForCausalLM(DeepseekV2Config(**config(**more)))


def grouped() -> Any:
    """V2: experts of the groups with the best one."""
    from transformers import DeepseekV2Config, DeepseekV2ForCausalLM

    more = {"n_routed_experts": 12, "num_experts_per_tok": 3, "n_shared_experts": 2, "topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 2}
    return DeepseekV2ForCausalLM(DeepseekV2Config(**config(**more, q_lora_rank=16, routed_scaling_factor=1.7)))


def v3() -> Any:
    """V3 and R1."""
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    rope = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 8.0, "original_max_position_embeddings": 4096, "mscale": 1.0, "mscale_all_dim": 1.0}
    more = {"n_routed_experts": 12, "num_experts_per_tok": 3, "n_shared_experts": 1, "n_group": 4, "topk_group": 2, "norm_topk_prob": True}
    return DeepseekV3ForCausalLM(DeepseekV3Config(**config(**more, q_lora_rank=16, routed_scaling_factor=2.5, rope_parameters=rope)))


def flash() -> Any:
    """GLM-4.7-Flash."""
    from transformers import Glm4MoeLiteConfig, Glm4MoeLiteForCausalLM

    more = {"n_routed_experts": 6, "num_experts_per_tok": 2, "n_shared_experts": 1, "norm_topk_prob": True, "mlp_layer_types": ["dense", "sparse"]}
    rope = {"rope_type": "default", "rope_theta": 30000.0}
    return Glm4MoeLiteForCausalLM(Glm4MoeLiteConfig(**config(**more, q_lora_rank=16, routed_scaling_factor=1.8, rms_norm_eps=1e-5, rope_parameters=rope)))


def state(t: Tensors) -> Tensors:
    """Names; the matrices of keys and values, and those of gates and ups, are one each."""
    for i in range(LAYERS):
        here = f"blk.{i}."
        if f"{here}attn_k_b.weight" in t:
            k, v = t[f"{here}attn_k_b.weight"], t[f"{here}attn_v_b.weight"]
            t[f"{here}attn_kv_b.weight"] = np.concatenate([k.swapaxes(1, 2), v], 1).reshape(-1, RANK)
        if f"{here}ffn_up_exps.weight" in t:
            t[f"{here}ffn_gate_up_exps.weight"] = np.concatenate([t[f"{here}ffn_gate_exps.weight"], t[f"{here}ffn_up_exps.weight"]], 1)
    return renamed(t, LAYERS, NAMES)


def metadata(experts: int, used: int, shared: int, **more: Any) -> dict[str, Any]:
    """Keys as the converter writes them; keyword arguments with `__` for the dot."""
    return {
        "block_count": LAYERS, "context_length": 256, "embedding_length": EMBD, "feed_forward_length": FF, "attention.head_count": HEADS,
        "attention.head_count_kv": 1, "attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 10000.0, "expert_count": experts,
        "expert_used_count": used, "attention.key_length": RANK + TURNED, "attention.value_length": RANK, "leading_dense_block_count": 1,
        "attention.kv_lora_rank": RANK, "attention.key_length_mla": STILL + TURNED, "attention.value_length_mla": VALUE,
        "expert_feed_forward_length": WIDTH, "expert_shared_count": shared, "rope.dimension_count": TURNED,
        **{key.replace("__", "."): value for key, value in more.items()},
    }  # fmt: skip


def shapes(experts: int, shared: int, bias: bool = False, q_rank: int | None = 16) -> dict[str, tuple[int, ...]]:
    """Tensors of a file with one dense layer and one of experts."""
    q, width = HEADS * (STILL + TURNED), WIDTH * shared
    queries: dict[str, tuple[int, ...]] = {"attn_q.weight": (q, EMBD)}
    if q_rank:
        queries = {"attn_q_a.weight": (q_rank, EMBD), "attn_q_a_norm.weight": (q_rank,), "attn_q_b.weight": (q, q_rank)}
    return {
        "token_embd.weight": (96, EMBD), "output_norm.weight": (EMBD,), "output.weight": (96, EMBD),
        **per_layer(LAYERS, {
            "attn_norm.weight": (EMBD,), **queries, "attn_kv_a_mqa.weight": (RANK + TURNED, EMBD), "attn_kv_a_norm.weight": (RANK,),
            "attn_k_b.weight": (HEADS, RANK, STILL), "attn_v_b.weight": (HEADS, VALUE, RANK), "attn_output.weight": (EMBD, HEADS * VALUE),
            "ffn_norm.weight": (EMBD,),
        }),
        "blk.0.ffn_gate.weight": (FF, EMBD), "blk.0.ffn_up.weight": (FF, EMBD), "blk.0.ffn_down.weight": (EMBD, FF),
        "blk.1.ffn_gate_inp.weight": (experts, EMBD), **({"blk.1.exp_probs_b.bias": (experts,)} if bias else {}),
        "blk.1.ffn_gate_exps.weight": (experts, WIDTH, EMBD), "blk.1.ffn_up_exps.weight": (experts, WIDTH, EMBD),
        "blk.1.ffn_down_exps.weight": (experts, EMBD, WIDTH), "blk.1.ffn_gate_shexp.weight": (width, EMBD), "blk.1.ffn_up_shexp.weight": (width, EMBD),
        "blk.1.ffn_down_shexp.weight": (EMBD, width),
    }  # fmt: skip


def older(tensors: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Those of a file from before April 2025, which has one matrix for keys and values."""
    both = {f"blk.{i}.attn_kv_b.weight": (HEADS * (STILL + VALUE), RANK) for i in range(LAYERS)}
    return {name: shape for name, shape in tensors.items() if not name.endswith(("attn_k_b.weight", "attn_v_b.weight"))} | both


def with_guesses(tensors: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """One layer more, which is not computed."""
    more: dict[str, tuple[int, ...]] = {"eh_proj.weight": (EMBD, 2 * EMBD), "enorm.weight": (EMBD,), "hnorm.weight": (EMBD,)}
    last = {name.removeprefix(f"blk.{LAYERS - 1}."): shape for name, shape in tensors.items() if name.startswith(f"blk.{LAYERS - 1}.")}
    return tensors | {f"blk.{LAYERS}.{name}": shape for name, shape in (last | {f"nextn.{name}": shape for name, shape in more.items()}).items()}


SCALED = {"rope__scaling__type": "yarn"}
OLD = {"attention__head_count_kv": HEADS, "attention__key_length": STILL + TURNED, "attention__value_length": VALUE}
LITE = {**SCALED, "rope__scaling__factor": 4.0, "rope__scaling__original_context_length": 64, "rope__scaling__yarn_log_multiplier": 0.0707}
CASES = {
    "deepseek2-lite": Case("deepseek2", lite, metadata(4, 2, 2, expert_weights_scale=1.0, **LITE), shapes(4, 2, q_rank=None), state),
    "deepseek2-old": Case(
        "deepseek2", lite,
        {k: v for k, v in metadata(4, 2, 2, **OLD, **LITE, expert_weights_scale=1.0).items() if not k.endswith("_mla")},
        older(shapes(4, 2, q_rank=None)), state,
    ),
    "deepseek2-groups": Case(
        "deepseek2", grouped,
        metadata(12, 3, 2, attention__q_lora_rank=16, expert_weights_scale=1.7, expert_group_count=4, expert_group_used_count=2), shapes(12, 2), state,
    ),
    "deepseek2-v3": Case(
        "deepseek2", v3,
        metadata(
            12, 3, 1, attention__q_lora_rank=16, expert_weights_scale=2.5, expert_weights_norm=True, expert_gating_func=2, expert_group_count=4,
            expert_group_used_count=2, **SCALED, rope__scaling__factor=8.0, rope__scaling__original_context_length=4096,
            rope__scaling__yarn_log_multiplier=0.1,
        ),
        shapes(12, 1, bias=True), state,
    ),
    "deepseek2-flash": Case(
        "deepseek2", flash,
        metadata(
            6, 2, 1, attention__q_lora_rank=16, expert_weights_scale=1.8, expert_weights_norm=True, rope__freq_base=30000.0,
            attention__layer_norm_rms_epsilon=1e-5, block_count=LAYERS + 1, nextn_predict_layers=1,
        ),
        with_guesses(shapes(6, 1, bias=True)), state,
    ),
}  # fmt: skip
