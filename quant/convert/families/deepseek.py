"""DeepSeek V2 and V3 (arXiv:2405.04434, arXiv:2412.19437), GLM-4.7-Flash: latent attention, a matrix for each head; GLM-4.5 (arXiv:2508.06471)."""

from __future__ import annotations

import numpy as np

from quant.convert import rope
from quant.convert.config import Config
from quant.convert.family import Family, Keys, Names, To
from quant.convert.keys import STANDARD
from quant.convert.names import ATTENTION, MLP, NORMS, OUTER, QK_NORMS, experts, shared

STILL, TURNED, VALUE, RANK = "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "kv_lora_rank"


def keys_by_head(x: np.ndarray, c: Config) -> np.ndarray:
    """[heads * (still + value), rank] -> [heads, rank, still]."""
    return _heads(x, c)[:, : c.count(STILL)].swapaxes(1, 2)


def values_by_head(x: np.ndarray, c: Config) -> np.ndarray:
    """[heads * (still + value), rank] -> [heads, value, rank]."""
    return _heads(x, c)[:, c.count(STILL) :]


def _heads(x: np.ndarray, c: Config) -> np.ndarray:
    return x.reshape(c.heads, c.count(STILL) + c.count(VALUE), x.shape[-1])


KEYS: Keys = {
    **STANDARD,
    "attention.head_count_kv": lambda c: 1,   # one latent for all heads
    "attention.key_length": lambda c: c.count(RANK) + c.count(TURNED),
    "attention.value_length": RANK,
    "leading_dense_block_count": lambda c: c.count("first_k_dense_replace", 0 if c.get("n_routed_experts") else c.layers),
    "vocab_size": "vocab_size",
    "attention.q_lora_rank": "q_lora_rank",
    "attention.kv_lora_rank": RANK,
    "attention.key_length_mla": lambda c: c.count(STILL) + c.count(TURNED),
    "attention.value_length_mla": VALUE,
    "expert_count": "n_routed_experts num_local_experts",
    "expert_feed_forward_length": "moe_intermediate_size intermediate_size",
    "expert_shared_count": lambda c: c.count("n_shared_experts", 0),
    "expert_weights_scale": "routed_scaling_factor",
    "expert_weights_norm": lambda c: c.flag("norm_topk_prob") or None,
    "rope.dimension_count": TURNED,
    "rope.scaling.yarn_log_multiplier": lambda c: None if (scale := rope.parameters(c).get("mscale_all_dim")) is None else 0.1 * scale,
}
LAYER: Names = {
    **NORMS,
    "self_attn.q_proj": "attn_q",
    "self_attn.q_a_proj": "attn_q_a",
    "self_attn.q_a_layernorm": "attn_q_a_norm",
    "self_attn.q_b_proj": "attn_q_b",
    "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "self_attn.kv_a_layernorm": "attn_kv_a_norm",
    "self_attn.kv_b_proj": (To("attn_k_b", keys_by_head), To("attn_v_b", values_by_head)),
    "self_attn.o_proj": "attn_output",
    **MLP,
    **experts(),
    "mlp.gate.e_score_correction_bias": "exp_probs_b.bias",
    **shared("mlp.shared_experts"),
}

GLM: Keys = {
    **STANDARD,
    "rope.dimension_count": lambda c: rope.turned(c, 0.5),
    "expert_count": "n_routed_experts",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_count": "n_shared_experts",
    "leading_dense_block_count": "first_k_dense_replace",
    "expert_weights_scale": "routed_scaling_factor",
    "expert_weights_norm": "norm_topk_prob",
}
GLM_LAYER: Names = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm",
    **ATTENTION,
    **QK_NORMS,
    **MLP,
    **experts(),
    "mlp.gate.e_score_correction_bias": "exp_probs_b.bias",
    **shared("mlp.shared_experts"),
}
SIGMOID = {"scoring_func": "sigmoid"}

# Layers that guess further tokens are left out: neither edgerun nor llama.cpp needs them to answer.
FAMILIES = (
    Family("deepseek2", ("deepseek_v2",), KEYS, OUTER, LAYER),
    Family("deepseek2", ("deepseek_v3", "glm4_moe_lite", "kimi_k2"), KEYS, OUTER, LAYER, defaults=SIGMOID),
    Family("glm4moe", ("glm4_moe",), GLM, OUTER, GLM_LAYER, defaults=SIGMOID),
)
