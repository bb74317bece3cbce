"""Apertus: xIELU with parameters for each layer, norms of q and k, Llama 3's rope scaling, biases of attention."""

from __future__ import annotations

from typing import Any

import numpy as np
from dense import CONFIG, LAYERS, NAMES, WIDTH, llama3_divisors, metadata, shapes
from make import Case, Tensors, renamed

ROPE = {"rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
XIELU = {"alpha_p": [0.3, -0.7], "alpha_n": [-0.4, 0.9], "beta": [0.5, 0.625], "eps": [-1e-6, -0.25]}
OWN = {"attn_norm": "attention_layernorm", "ffn_norm": "feedforward_layernorm"}


def model() -> Any:
    """The checkpoint's own code. Its plain Python takes eps from the buffer, as here."""
    from transformers import ApertusConfig, ApertusForCausalLM

    return ApertusForCausalLM(ApertusConfig(**CONFIG, attention_bias=True, rope_parameters={"rope_type": "llama3", **ROPE}))


def state(t: Tensors) -> Tensors:
    """Names, and the parameters of the activation, which the file holds as metadata."""
    result = renamed(t, LAYERS, NAMES | {f"{here}.weight": f"{there}.weight" for here, there in OWN.items()})
    for name, values in XIELU.items():
        for i, value in enumerate(values):
            result[f"model.layers.{i}.mlp.act_fn.{name}"] = np.array([value]) if name.startswith("alpha") else np.array(value)
    return result


CASES = {
    "apertus": Case(
        "apertus",
        model,
        metadata() | {f"xielu.{name}": values for name, values in XIELU.items()},
        {
            "rope_freqs.weight": (WIDTH // 2,),
            **shapes(without=("ffn_gate",), biases=("attn_q", "attn_k", "attn_v", "attn_output"), attn_q_norm=(WIDTH,), attn_k_norm=(WIDTH,)),
        },
        state,
        values={"rope_freqs.weight": llama3_divisors(WIDTH, ROPE["rope_theta"], ROPE["factor"], 1.0, 4.0, 64)},
    ),
}
