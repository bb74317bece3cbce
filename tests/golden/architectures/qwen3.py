"""Qwen3 as a reranker: two labels in place of the vocabulary."""

from __future__ import annotations

from typing import Any

from dense import NAMES
from make import Case, Tensors, per_layer, renamed

LAYERS, HEADS, KV, WIDTH = 2, 4, 2, 16


def model() -> Any:
    """The checkpoint's own code; the reranker scores the last row, this one every row."""
    from transformers import Qwen3Config, Qwen3ForTokenClassification

    config = Qwen3Config(
        vocab_size=96,
        hidden_size=48,
        intermediate_size=40,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV,
        head_dim=WIDTH,
        max_position_embeddings=128,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        attn_implementation="eager",
    )
    config.num_labels = 2
    return Qwen3ForTokenClassification(config)


def state(t: Tensors) -> Tensors:
    """Names, and a head without bias."""
    return {**renamed(t, LAYERS, NAMES), "score.weight": t["cls.output.weight"], "score.bias": 0 * t["cls.output.weight"][:, 0]}


CASES = {
    "qwen3-reranker": Case(
        "qwen3",
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
            "attention.layer_norm_rms_epsilon": 1e-6,
            "rope.freq_base": 10000.0,
            "pooling_type": 4,
            "classifier.output_labels": ["yes", "no"],
        },
        {
            "token_embd.weight": (96, 48),
            "output_norm.weight": (48,),
            "cls.output.weight": (2, 48),
            **per_layer(
                LAYERS,
                {
                    "attn_norm.weight": (48,),
                    "attn_q.weight": (HEADS * WIDTH, 48),
                    "attn_k.weight": (KV * WIDTH, 48),
                    "attn_v.weight": (KV * WIDTH, 48),
                    "attn_q_norm.weight": (WIDTH,),
                    "attn_k_norm.weight": (WIDTH,),
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
