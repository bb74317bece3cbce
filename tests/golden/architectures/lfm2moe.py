"""LFM2 with experts: short convolutions, a layer of attention, one dense layer, experts ranked with a bias."""

from __future__ import annotations

from typing import Any

import numpy as np
from make import Case, Tensors, renamed

KINDS, WIDTH, HEADS, KV, HEAD = ("conv", "full_attention", "conv"), 32, 4, 2, 8
DENSE, EXPERTS, EXPERT, FEED = 1, 5, 24, 40
NAMES = {
    "attn_norm.weight": "operator_norm.weight",
    "shortconv.in_proj.weight": "conv.in_proj.weight",
    "shortconv.conv.weight": "conv.conv.weight",
    "shortconv.out_proj.weight": "conv.out_proj.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.out_proj.weight",
    "attn_q_norm.weight": "self_attn.q_layernorm.weight",
    "attn_k_norm.weight": "self_attn.k_layernorm.weight",
    "ffn_norm.weight": "ffn_norm.weight",
    "ffn_gate.weight": "feed_forward.w1.weight",
    "ffn_up.weight": "feed_forward.w3.weight",
    "ffn_down.weight": "feed_forward.w2.weight",
    "ffn_gate_inp.weight": "feed_forward.gate.weight",
    "exp_probs_b.bias": "feed_forward.expert_bias",
    "ffn_gate_up_exps": "feed_forward.experts.gate_up_proj",
    "ffn_down_exps.weight": "feed_forward.experts.down_proj",
}


def model() -> Any:
    """The checkpoint's own code."""
    from transformers import Lfm2MoeConfig, Lfm2MoeForCausalLM

    return Lfm2MoeForCausalLM(
        Lfm2MoeConfig(
            vocab_size=96, hidden_size=WIDTH, intermediate_size=FEED, moe_intermediate_size=EXPERT, num_hidden_layers=len(KINDS), layer_types=list(KINDS),
            num_attention_heads=HEADS, num_key_value_heads=KV, num_experts=EXPERTS, num_experts_per_tok=2, num_dense_layers=DENSE, conv_L_cache=3,
            max_position_embeddings=128, norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 1e6}, attn_implementation="eager", experts_implementation="eager",
        )
    )   # fmt: skip


def state(t: Tensors) -> Tensors:
    """Names, and gate and up of the experts in one."""
    for i, kind in enumerate(KINDS):
        b = f"blk.{i}."
        if kind == "conv":
            t[b + "shortconv.conv.weight"] = t[b + "shortconv.conv.weight"][:, None]
        if i >= DENSE:
            t[b + "ffn_gate_up_exps"] = np.concatenate([t[b + "ffn_gate_exps.weight"], t[b + "ffn_up_exps.weight"]], 1)
    named = renamed(t, len(KINDS), NAMES)
    named["model.embedding_norm.weight"] = t["token_embd_norm.weight"]
    return named


def layer(i: int, kind: str) -> dict[str, tuple[int, ...]]:
    """Shapes of one layer."""
    mixer = {
        "conv": {"shortconv.in_proj.weight": (3 * WIDTH, WIDTH), "shortconv.conv.weight": (WIDTH, 3), "shortconv.out_proj.weight": (WIDTH, WIDTH)},
        "full_attention": {
            "attn_q.weight": (WIDTH, WIDTH), "attn_k.weight": (KV * HEAD, WIDTH), "attn_v.weight": (KV * HEAD, WIDTH),
            "attn_output.weight": (WIDTH, WIDTH), "attn_q_norm.weight": (HEAD,), "attn_k_norm.weight": (HEAD,),
        },
    }[kind]   # fmt: skip
    dense = {"ffn_gate.weight": (FEED, WIDTH), "ffn_up.weight": (FEED, WIDTH), "ffn_down.weight": (WIDTH, FEED)}
    routed = {
        "ffn_gate_inp.weight": (EXPERTS, WIDTH), "exp_probs_b.bias": (EXPERTS,), "ffn_gate_exps.weight": (EXPERTS, EXPERT, WIDTH),
        "ffn_up_exps.weight": (EXPERTS, EXPERT, WIDTH), "ffn_down_exps.weight": (EXPERTS, WIDTH, EXPERT),
    }   # fmt: skip
    every = {"attn_norm.weight": (WIDTH,), "ffn_norm.weight": (WIDTH,), **mixer, **(dense if i < DENSE else routed)}
    return {f"blk.{i}.{name}": shape for name, shape in every.items()}


CASES = {
    "lfm2moe": Case(
        "lfm2moe",
        model,
        {
            "vocab_size": 96, "block_count": len(KINDS), "context_length": 128, "embedding_length": WIDTH, "feed_forward_length": FEED,
            "attention.head_count": HEADS, "attention.head_count_kv": [KV if kind != "conv" else 0 for kind in KINDS],
            "attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 1e6, "expert_count": EXPERTS, "expert_used_count": 2,
            "expert_feed_forward_length": EXPERT, "leading_dense_block_count": DENSE, "expert_gating_func": 2, "shortconv.l_cache": 3,
        },
        {
            "token_embd.weight": (96, WIDTH), "token_embd_norm.weight": (WIDTH,),
            **{name: shape for i, kind in enumerate(KINDS) for name, shape in layer(i, kind).items()},
        },
        state,
    ),
}   # fmt: skip
