"""GLM-4.5: partial rope, norms of q and k, one dense layer, sigmoid routing with a bias and a shared expert, a layer that is not computed."""

from __future__ import annotations

from typing import Any

import numpy as np
from dense import NAMES as DENSE
from make import Case, Tensors, per_layer, renamed

LAYERS, HEADS, KV, EMBD, HEAD, FF, WIDTH, EXPERTS = 2, 4, 2, 48, 16, 40, 16, 8
NAMES = {
    **DENSE,
    **{f"attn_{x}.{what}": f"self_attn.{x}_proj.{what}" for x in "qkv" for what in ("weight", "bias")},
    "post_attention_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate_inp.weight": "mlp.gate.weight",
    "exp_probs_b.bias": "mlp.gate.e_score_correction_bias",
    "ffn_gate_up_exps.weight": "mlp.experts.gate_up_proj",
    "ffn_down_exps.weight": "mlp.experts.down_proj",
    "ffn_gate_shexp.weight": "mlp.shared_experts.gate_proj.weight",
    "ffn_up_shexp.weight": "mlp.shared_experts.up_proj.weight",
    "ffn_down_shexp.weight": "mlp.shared_experts.down_proj.weight",
}
EXPERT = {
    "ffn_gate_inp.weight": (EXPERTS, EMBD),
    "exp_probs_b.bias": (EXPERTS,),
    "ffn_gate_exps.weight": (EXPERTS, WIDTH, EMBD),
    "ffn_up_exps.weight": (EXPERTS, WIDTH, EMBD),
    "ffn_down_exps.weight": (EXPERTS, EMBD, WIDTH),
    "ffn_gate_shexp.weight": (WIDTH, EMBD),
    "ffn_up_shexp.weight": (WIDTH, EMBD),
    "ffn_down_shexp.weight": (EMBD, WIDTH),
}


def model() -> Any:
    """The checkpoint's own code."""
    from transformers import Glm4MoeConfig, Glm4MoeForCausalLM

    return Glm4MoeForCausalLM(
        Glm4MoeConfig(
            vocab_size=96, hidden_size=EMBD, intermediate_size=FF, moe_intermediate_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
            num_key_value_heads=KV, head_dim=HEAD, attention_bias=True, use_qk_norm=True, n_routed_experts=EXPERTS, num_experts_per_tok=3,
            n_shared_experts=1, first_k_dense_replace=1, routed_scaling_factor=2.5, norm_topk_prob=True, max_position_embeddings=256,
            rms_norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 40000.0, "partial_rotary_factor": 0.5},
            tie_word_embeddings=False, attn_implementation="eager", experts_implementation="eager",
        )
    )  # fmt: skip


def state(t: Tensors) -> Tensors:
    """Names; gates and ups of experts are one matrix."""
    t["blk.1.ffn_gate_up_exps.weight"] = np.concatenate([t["blk.1.ffn_gate_exps.weight"], t["blk.1.ffn_up_exps.weight"]], 1)
    return renamed(t, LAYERS, NAMES)


CASES = {
    "glm4moe": Case(
        "glm4moe",
        model,
        {
            "block_count": LAYERS + 1,
            "context_length": 256,
            "embedding_length": EMBD,
            "feed_forward_length": FF,
            "attention.head_count": HEADS,
            "attention.head_count_kv": KV,
            "attention.key_length": HEAD,
            "attention.value_length": HEAD,
            "attention.layer_norm_rms_epsilon": 1e-5,
            "rope.freq_base": 40000.0,
            "rope.dimension_count": HEAD // 2,
            "expert_count": EXPERTS,
            "expert_used_count": 3,
            "expert_group_count": 1,
            "expert_group_used_count": 1,
            "expert_feed_forward_length": WIDTH,
            "expert_shared_count": 1,
            "leading_dense_block_count": 1,
            "expert_gating_func": 2,
            "expert_weights_scale": 2.5,
            "expert_weights_norm": True,
            "nextn_predict_layers": 1,
        },
        {
            "token_embd.weight": (96, EMBD),
            "output_norm.weight": (EMBD,),
            "output.weight": (96, EMBD),
            **per_layer(
                LAYERS + 1,
                {
                    "attn_norm.weight": (EMBD,),
                    "attn_q.weight": (HEADS * HEAD, EMBD),
                    "attn_q.bias": (HEADS * HEAD,),
                    "attn_k.weight": (KV * HEAD, EMBD),
                    "attn_k.bias": (KV * HEAD,),
                    "attn_v.weight": (KV * HEAD, EMBD),
                    "attn_v.bias": (KV * HEAD,),
                    "attn_q_norm.weight": (HEAD,),
                    "attn_k_norm.weight": (HEAD,),
                    "attn_output.weight": (EMBD, HEADS * HEAD),
                    "post_attention_norm.weight": (EMBD,),
                },
            ),
            "blk.0.ffn_gate.weight": (FF, EMBD),
            "blk.0.ffn_up.weight": (FF, EMBD),
            "blk.0.ffn_down.weight": (EMBD, FF),
            **{f"blk.{i}.{name}": shape for i in range(1, LAYERS + 1) for name, shape in EXPERT.items()},
            f"blk.{LAYERS}.nextn.eh_proj.weight": (EMBD, 2 * EMBD),
            f"blk.{LAYERS}.nextn.enorm.weight": (EMBD,),
            f"blk.{LAYERS}.nextn.hnorm.weight": (EMBD,),
        },
        state,
    ),
}
