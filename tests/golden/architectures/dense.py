"""What the decoders of dense layers in this folder have in common: sizes, metadata, shapes and names."""

from __future__ import annotations

from typing import Any

import numpy as np
from make import Tensors, per_layer, renamed, unpermuted

Shapes = dict[str, tuple[int, ...]]

LAYERS, VOCAB, EMBD, HEADS, KV, WIDTH, FFN, CONTEXT = 2, 96, 48, 4, 2, 16, 40, 128
# The same in transformers' words.
CONFIG: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": EMBD,
    "intermediate_size": FFN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV,
    "head_dim": WIDTH,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-5,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
    "attn_implementation": "eager",
}
NAMES = {
    f"{here}.{kind}": f"{there}.{kind}"
    for here, there in {
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_q_norm": "self_attn.q_norm",
        "attn_k_norm": "self_attn.k_norm",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }.items()
    for kind in ("weight", "bias")
}


def metadata(**more: Any) -> dict[str, Any]:
    """Keys of such a file; those of `more`, with __ for dots, are added or replace them. None leaves a key out."""
    keys = {
        "block_count": LAYERS,
        "context_length": CONTEXT,
        "embedding_length": EMBD,
        "feed_forward_length": FFN,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KV,
        "attention.key_length": WIDTH,
        "attention.value_length": WIDTH,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": 10000.0,
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    return {key: value for key, value in keys.items() if value is not None}


def shapes(*, layers: int = LAYERS, width: int = WIDTH, tied: bool = False, without: tuple[str, ...] = (), biases: tuple[str, ...] = (), **more: tuple[int, ...]) -> Shapes:
    """Tensors of such a file. without: weights it lacks; biases: matrices that have one; more: further weights of a layer."""
    weights = {
        "attn_norm": (EMBD,),
        "attn_q": (HEADS * width, EMBD),
        "attn_k": (KV * width, EMBD),
        "attn_v": (KV * width, EMBD),
        "attn_output": (EMBD, HEADS * width),
        "ffn_norm": (EMBD,),
        "ffn_gate": (FFN, EMBD),
        "ffn_up": (FFN, EMBD),
        "ffn_down": (EMBD, FFN),
        **more,
    }
    kept = {f"{name}.weight": shape for name, shape in weights.items() if name not in without}
    kept |= {f"{name}.bias": weights[name][:1] for name in biases}
    outer: Shapes = {"token_embd.weight": (VOCAB, EMBD), "output_norm.weight": (EMBD,), "output.weight": (VOCAB, EMBD)}
    if tied:
        del outer["output.weight"]
    return {**outer, **per_layer(layers, kept)}


def as_llama(t: Tensors) -> Tensors:
    """The state dict of a family whose q and k the converter permutes."""
    permuted = {"attn_q": HEADS, "attn_k": KV}
    for i in range(LAYERS):
        for name, heads in permuted.items():
            for kind in ("weight", "bias"):
                if (key := f"blk.{i}.{name}.{kind}") in t:
                    t[key] = unpermuted(t[key][:, None] if kind == "bias" else t[key], heads).reshape(t[key].shape)
    return renamed(t, LAYERS, NAMES)


def plain(t: Tensors) -> Tensors:
    """The state dict of a family where only names differ, and those as Llama's."""
    return renamed(t, LAYERS, NAMES)


def llama3_divisors(width: int, base: float, factor: float, low: float, high: float, context: int) -> list[float]:
    """rope_freqs.weight of Llama 3's scaling (huggingface.co/meta-llama/Llama-3.1-8B)."""
    wavelengths = 2 * np.pi * base ** (np.arange(0, width, 2) / width)
    smooth = np.clip((context / wavelengths - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32).tolist()
