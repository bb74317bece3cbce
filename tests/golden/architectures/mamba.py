"""Falcon Mamba: Mamba whose steps, b and c are normalised before use."""

from __future__ import annotations

from typing import Any

import numpy as np
from make import Case, Tensors, per_layer, renamed

LAYERS, WIDTH, INNER, STATE, RANK, TAPS = 2, 32, 64, 10, 6, 4
NAMES = {
    "attn_norm.weight": "norm.weight",
    "ssm_in.weight": "mixer.in_proj.weight",
    "ssm_conv1d.weight": "mixer.conv1d.weight",
    "ssm_conv1d.bias": "mixer.conv1d.bias",
    "ssm_x.weight": "mixer.x_proj.weight",
    "ssm_dt.weight": "mixer.dt_proj.weight",
    "ssm_dt.bias": "mixer.dt_proj.bias",
    "ssm_a": "mixer.A_log",
    "ssm_d": "mixer.D",
    "ssm_out.weight": "mixer.out_proj.weight",
}


def model() -> Any:
    """The checkpoint's own code."""
    from transformers import FalconMambaConfig, FalconMambaForCausalLM

    return FalconMambaForCausalLM(
        FalconMambaConfig(
            vocab_size=96, hidden_size=WIDTH, intermediate_size=INNER, state_size=STATE, num_hidden_layers=LAYERS, conv_kernel=TAPS, time_step_rank=RANK,
            layer_norm_epsilon=1e-5, tie_word_embeddings=False,
        )
    )   # fmt: skip


def state(t: Tensors) -> Tensors:
    """Names and shapes."""
    for i in range(LAYERS):
        t[f"blk.{i}.ssm_a"] = np.log(-t[f"blk.{i}.ssm_a"])
        t[f"blk.{i}.ssm_conv1d.weight"] = t[f"blk.{i}.ssm_conv1d.weight"][:, None]
    named = renamed(t, LAYERS, NAMES, model="backbone")
    named["backbone.embeddings.weight"] = named.pop("backbone.embed_tokens.weight")
    named["backbone.norm_f.weight"] = named.pop("backbone.norm.weight")
    return named


CASES = {
    "falcon-mamba": Case(
        "mamba",
        model,
        {
            "context_length": 1 << 20, "embedding_length": WIDTH, "feed_forward_length": 0, "attention.head_count": 0, "block_count": LAYERS,
            "ssm.conv_kernel": TAPS, "ssm.inner_size": INNER, "ssm.state_size": STATE, "ssm.time_step_rank": RANK,
            "attention.layer_norm_rms_epsilon": 1e-5, "ssm.dt_b_c_rms": True,
        },
        {
            "token_embd.weight": (96, WIDTH), "output_norm.weight": (WIDTH,), "output.weight": (96, WIDTH),
            **per_layer(
                LAYERS,
                {
                    "attn_norm.weight": (WIDTH,), "ssm_in.weight": (2 * INNER, WIDTH), "ssm_conv1d.weight": (INNER, TAPS), "ssm_conv1d.bias": (INNER,),
                    "ssm_x.weight": (RANK + 2 * STATE, INNER), "ssm_dt.weight": (INNER, RANK), "ssm_dt.bias": (INNER,), "ssm_a": (INNER, STATE),
                    "ssm_d": (INNER,), "ssm_out.weight": (WIDTH, INNER),
                },
            ),
        },
        state,
    ),
}   # fmt: skip
