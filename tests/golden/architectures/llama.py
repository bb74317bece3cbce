"""Llama with linear rope scaling, narrower heads than n_embd / heads, and biases."""

from __future__ import annotations

from typing import Any

from dense import NAMES
from make import Case, Tensors, per_layer, renamed, unpermuted

LAYERS, HEADS, KV, WIDTH = 2, 4, 2, 16


def model() -> Any:
    """The checkpoint's own code."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=96,
            hidden_size=48,
            intermediate_size=40,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=KV,
            head_dim=WIDTH,
            max_position_embeddings=128,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "linear", "rope_theta": 20000.0, "factor": 3.0},
            tie_word_embeddings=False,
            attn_implementation="eager",
        )
    )


def state(t: Tensors) -> Tensors:
    """Names, and q and k in the checkpoint's order."""
    for i in range(LAYERS):
        t[f"blk.{i}.attn_q.weight"] = unpermuted(t[f"blk.{i}.attn_q.weight"], HEADS)
        t[f"blk.{i}.attn_k.weight"] = unpermuted(t[f"blk.{i}.attn_k.weight"], KV)
    return renamed(t, LAYERS, NAMES)


CASES = {
    "llama-linear": Case(
        "llama",
        model,
        {
            "block_count": LAYERS,
            "context_length": 128,
            "embedding_length": 48,
            "feed_forward_length": 40,
            "attention.head_count": HEADS,
            "attention.head_count_kv": KV,
            "attention.key_length": WIDTH,
            "attention.value_length": WIDTH,
            "attention.layer_norm_rms_epsilon": 1e-5,
            "rope.dimension_count": WIDTH,
            "rope.freq_base": 20000.0,
            "rope.scaling.type": "linear",
            "rope.scaling.factor": 3.0,
        },
        {
            "token_embd.weight": (96, 48),
            "output_norm.weight": (48,),
            "output.weight": (96, 48),
            **per_layer(
                LAYERS,
                {
                    "attn_norm.weight": (48,),
                    "attn_q.weight": (HEADS * WIDTH, 48),
                    "attn_k.weight": (KV * WIDTH, 48),
                    "attn_v.weight": (KV * WIDTH, 48),
                    "attn_output.weight": (48, HEADS * WIDTH),
                    "ffn_norm.weight": (48,),
                    "ffn_gate.weight": (40, 48),
                    "ffn_up.weight": (40, 48),
                    "ffn_down.weight": (48, 40),
                },
            ),
        },
        state,
    ),
}
