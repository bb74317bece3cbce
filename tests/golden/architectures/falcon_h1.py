"""Falcon-H1 with every multiplier, as the converter folds them, and a norm in the mixer."""

from __future__ import annotations

from typing import Any

import numpy as np
from dense import NAMES as DENSE
from make import Case, Tensors, per_layer, renamed

LAYERS, WIDTH, HEADS, KV, HEAD = 2, 32, 4, 2, 8
INNER, SCANS, GROUPS, STATE, TAPS = 48, 6, 2, 12, 4
FEW = GROUPS * STATE
IN, ATTN_IN, ATTN_OUT, SSM_OUT, KEY, EMBEDDING, HEAD_SCALE = 0.7, 1.3, 0.8, 1.4, 0.6, 1.7, 0.9
MLP, PARTS = (0.75, 1.2), (0.8, 1.1, 1.25, 0.7, 1.15)   # of z, x, b, c and dt
NAMES = {
    **DENSE,
    "ssm_in.weight": "mamba.in_proj.weight",
    "ssm_conv1d.weight": "mamba.conv1d.weight",
    "ssm_conv1d.bias": "mamba.conv1d.bias",
    "ssm_dt.bias": "mamba.dt_bias",
    "ssm_a": "mamba.A_log",
    "ssm_d": "mamba.D",
    "ssm_norm.weight": "mamba.norm.weight",
    "ssm_out.weight": "mamba.out_proj.weight",
    "ffn_norm": "pre_ff_layernorm.weight",
    "ffn_gate.weight": "feed_forward.gate_proj.weight",
    "ffn_up.weight": "feed_forward.up_proj.weight",
    "ffn_down.weight": "feed_forward.down_proj.weight",
}


def model(norm: bool) -> Any:
    """The checkpoint's own code."""
    from transformers import FalconH1Config, FalconH1ForCausalLM

    return FalconH1ForCausalLM(
        FalconH1Config(
            vocab_size=96, hidden_size=WIDTH, intermediate_size=40, num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KV,
            head_dim=HEAD, max_position_embeddings=128, rms_norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 1e11},
            mamba_d_ssm=INNER, mamba_n_heads=SCANS, mamba_d_head=INNER // SCANS, mamba_n_groups=GROUPS, mamba_d_state=STATE, mamba_d_conv=TAPS,
            mamba_rms_norm=norm, mamba_norm_before_gate=False, mamba_chunk_size=16, ssm_in_multiplier=IN, attention_in_multiplier=ATTN_IN,
            attention_out_multiplier=ATTN_OUT, ssm_out_multiplier=SSM_OUT, key_multiplier=KEY, embedding_multiplier=EMBEDDING,
            lm_head_multiplier=HEAD_SCALE, mlp_multipliers=list(MLP), ssm_multipliers=list(PARTS), attn_implementation="eager",
        )
    )   # fmt: skip


def state(t: Tensors) -> Tensors:
    """Names, shapes, and the multipliers taken out again."""
    every = np.concatenate([np.full(n, IN * m) for n, m in zip((INNER, INNER, FEW, FEW, SCANS), PARTS, strict=True)])[:, None]
    factors = {
        "attn_q.weight": ATTN_IN, "attn_k.weight": ATTN_IN * KEY, "attn_v.weight": ATTN_IN, "attn_output.weight": ATTN_OUT, "ssm_in.weight": every,
        "ssm_out.weight": SSM_OUT, "ffn_gate.weight": MLP[0], "ffn_down.weight": MLP[1],
    }   # fmt: skip
    t["token_embd.weight"] /= EMBEDDING
    t["output.weight"] /= HEAD_SCALE
    for i in range(LAYERS):
        for name, factor in factors.items():
            t[f"blk.{i}.{name}"] /= factor
        t[f"blk.{i}.ssm_a"] = np.log(-t[f"blk.{i}.ssm_a"])[:, 0]
        t[f"blk.{i}.ssm_d"] = t[f"blk.{i}.ssm_d"][:, 0]
        t[f"blk.{i}.ssm_conv1d.weight"] = t[f"blk.{i}.ssm_conv1d.weight"][:, None]
        if f"blk.{i}.ssm_norm.weight" in t:
            t[f"blk.{i}.ssm_norm.weight"] = t[f"blk.{i}.ssm_norm.weight"].reshape(-1)
    named = renamed(t, LAYERS, NAMES)
    named["model.final_layernorm.weight"] = named.pop("model.norm.weight")
    return named


def case(norm: bool) -> Case:
    """One with or without a norm in the mixer."""
    return Case(
        "falcon-h1",
        lambda: model(norm),
        {
            "vocab_size": 96, "block_count": LAYERS, "context_length": 128, "embedding_length": WIDTH, "feed_forward_length": 40,
            "attention.head_count": HEADS, "attention.head_count_kv": KV, "attention.key_length": HEAD, "attention.value_length": HEAD,
            "attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 1e11, "ssm.conv_kernel": TAPS, "ssm.inner_size": INNER,
            "ssm.state_size": STATE, "ssm.time_step_rank": SCANS, "ssm.group_count": GROUPS,
        },
        {
            "token_embd.weight": (96, WIDTH), "output_norm.weight": (WIDTH,), "output.weight": (96, WIDTH),
            **per_layer(
                LAYERS,
                {
                    "attn_norm.weight": (WIDTH,), "attn_q.weight": (HEADS * HEAD, WIDTH), "attn_k.weight": (KV * HEAD, WIDTH),
                    "attn_v.weight": (KV * HEAD, WIDTH), "attn_output.weight": (WIDTH, HEADS * HEAD),
                    "ssm_in.weight": (2 * INNER + 2 * FEW + SCANS, WIDTH), "ssm_conv1d.weight": (INNER + 2 * FEW, TAPS), "ssm_conv1d.bias": (INNER + 2 * FEW,),
                    "ssm_dt.bias": (SCANS,), "ssm_a": (SCANS, 1), "ssm_d": (SCANS, 1), "ssm_out.weight": (WIDTH, INNER),
                    **({"ssm_norm.weight": (GROUPS, INNER // GROUPS)} if norm else {}),
                    "ffn_norm": (WIDTH,), "ffn_gate.weight": (40, WIDTH), "ffn_up.weight": (40, WIDTH), "ffn_down.weight": (WIDTH, 40),
                },
            ),
        },
        state,
        spreads=[("*.ffn_norm", 1.0, 0.5)],
    )   # fmt: skip


CASES = {"falcon-h1": case(norm=False), "falcon-h1-norm": case(norm=True)}
