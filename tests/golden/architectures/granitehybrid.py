"""Granite 4: Mamba 2 mixers and attention without a rope, with experts and a shared one, or with one feed-forward."""

from __future__ import annotations

from typing import Any

import numpy as np
from make import Case, Tensors, renamed, unpermuted

KINDS, WIDTH, HEADS, KV = ("mamba", "attention", "mamba"), 32, 4, 2
INNER, SCANS, GROUPS, STATE, TAPS = 64, 4, 2, 12, 4
FEW, HEAD, EXPERTS, EXPERT, SHARED = GROUPS * STATE, WIDTH // HEADS, 5, 24, 40
NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ssm_in.weight": "mamba.in_proj.weight",
    "ssm_conv1d.weight": "mamba.conv1d.weight",
    "ssm_conv1d.bias": "mamba.conv1d.bias",
    "ssm_dt.bias": "mamba.dt_bias",
    "ssm_a": "mamba.A_log",
    "ssm_d": "mamba.D",
    "ssm_norm.weight": "mamba.norm.weight",
    "ssm_out.weight": "mamba.out_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate_inp.weight": "block_sparse_moe.router.weight",
    "ffn_gate_up_exps": "block_sparse_moe.experts.gate_up_proj",
    "ffn_down_exps.weight": "block_sparse_moe.experts.down_proj",
    "shared": "shared_mlp.input_linear.weight",
    "shared_down": "shared_mlp.output_linear.weight",
}


def model(experts: int) -> Any:
    """The checkpoint's own code."""
    from transformers import GraniteMoeHybridConfig, GraniteMoeHybridForCausalLM

    return GraniteMoeHybridForCausalLM(
        GraniteMoeHybridConfig(
            vocab_size=96, hidden_size=WIDTH, intermediate_size=EXPERT if experts else SHARED, shared_intermediate_size=SHARED, num_hidden_layers=len(KINDS),
            layer_types=list(KINDS), num_attention_heads=HEADS, num_key_value_heads=KV, num_local_experts=experts, num_experts_per_tok=2 if experts else 0,
            mamba_n_heads=SCANS, mamba_n_groups=GROUPS, mamba_d_state=STATE, mamba_expand=2, mamba_d_head=INNER // SCANS, mamba_d_conv=TAPS,
            mamba_chunk_size=16, max_position_embeddings=128, rms_norm_eps=1e-5, embedding_multiplier=1.5, logits_scaling=3.0,
            residual_multiplier=0.6, attention_multiplier=0.4, tie_word_embeddings=True, attn_implementation="eager", experts_implementation="eager",
        )
    )   # fmt: skip


def state(t: Tensors) -> Tensors:
    """Names, shapes, matrices that the converter cut apart."""
    for i, kind in enumerate(KINDS):
        b = f"blk.{i}."
        if kind == "mamba":
            t[b + "ssm_a"], t[b + "ssm_d"] = np.log(-t[b + "ssm_a"])[:, 0], t[b + "ssm_d"][:, 0]
            t[b + "ssm_conv1d.weight"] = t[b + "ssm_conv1d.weight"][:, None]
            t[b + "ssm_norm.weight"] = t[b + "ssm_norm.weight"].reshape(-1)
        else:
            t[b + "attn_q.weight"], t[b + "attn_k.weight"] = unpermuted(t[b + "attn_q.weight"], HEADS), unpermuted(t[b + "attn_k.weight"], KV)
        end = ".weight"
        if b + "ffn_gate_exps.weight" in t:
            end = "_shexp.weight"
            t[b + "ffn_gate_up_exps"] = np.concatenate([t[b + "ffn_gate_exps.weight"], t[b + "ffn_up_exps.weight"]], 1)
        t[b + "shared"] = np.concatenate([t[b + "ffn_gate" + end], t[b + "ffn_up" + end]])
        t[b + "shared_down"] = t[b + "ffn_down" + end]
    return renamed(t, len(KINDS), NAMES)


def case(experts: int) -> Case:
    """One with experts or without."""
    mamba = {
        "ssm_in.weight": (2 * INNER + 2 * FEW + SCANS, WIDTH), "ssm_conv1d.weight": (INNER + 2 * FEW, TAPS), "ssm_conv1d.bias": (INNER + 2 * FEW,),
        "ssm_dt.bias": (SCANS,), "ssm_a": (SCANS, 1), "ssm_d": (SCANS, 1), "ssm_norm.weight": (GROUPS, INNER // GROUPS), "ssm_out.weight": (WIDTH, INNER),
    }   # fmt: skip
    attention = {
        "attn_q.weight": (WIDTH, WIDTH), "attn_k.weight": (KV * HEAD, WIDTH), "attn_v.weight": (KV * HEAD, WIDTH), "attn_output.weight": (WIDTH, WIDTH),
    }   # fmt: skip
    end = "_shexp.weight" if experts else ".weight"
    routed = {
        "ffn_gate_inp.weight": (EXPERTS, WIDTH), "ffn_gate_exps.weight": (EXPERTS, EXPERT, WIDTH), "ffn_up_exps.weight": (EXPERTS, EXPERT, WIDTH),
        "ffn_down_exps.weight": (EXPERTS, WIDTH, EXPERT),
    }   # fmt: skip
    every = {
        "attn_norm.weight": (WIDTH,), "ffn_norm.weight": (WIDTH,), **(routed if experts else {}),
        f"ffn_gate{end}": (SHARED, WIDTH), f"ffn_up{end}": (SHARED, WIDTH), f"ffn_down{end}": (WIDTH, SHARED),
    }   # fmt: skip
    layers = {f"blk.{i}.{name}": shape for i, kind in enumerate(KINDS) for name, shape in ({**every, **(mamba if kind == "mamba" else attention)}).items()}
    return Case(
        "granitehybrid",
        lambda: model(experts),
        {
            "block_count": len(KINDS), "context_length": 1 << 20, "embedding_length": WIDTH, "feed_forward_length": EXPERT if experts else SHARED,
            "attention.head_count": HEADS, "attention.head_count_kv": [KV if kind == "attention" else 0 for kind in KINDS],
            "attention.layer_norm_rms_epsilon": 1e-5, "attention.scale": 0.4, "embedding_scale": 1.5, "residual_scale": 0.6, "logit_scale": 3.0,
            "rope.dimension_count": HEAD, "rope.freq_base": 10000.0, "rope.scaling.finetuned": False, "expert_shared_feed_forward_length": SHARED,
            "ssm.conv_kernel": TAPS, "ssm.inner_size": INNER, "ssm.state_size": STATE, "ssm.time_step_rank": SCANS, "ssm.group_count": GROUPS,
            **({"expert_count": experts, "expert_used_count": 2} if experts else {}),
        },
        {"token_embd.weight": (96, WIDTH), "output_norm.weight": (WIDTH,), **layers},
        state,
    )   # fmt: skip


CASES = {"granitehybrid": case(EXPERTS), "granitehybrid-dense": case(0)}
