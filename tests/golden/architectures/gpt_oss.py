"""gpt-oss as published: YaRN over 4096 positions whose ramp ends between pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
from make import Case, Tensors, per_layer, renamed

LAYERS, HEADS, KV, EMBD, HEAD, WIDTH, EXPERTS, WINDOW = 2, 4, 2, 48, 16, 24, 4, 16
NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    **{f"attn_{x}.{what}": f"self_attn.{x}_proj.{what}" for x in "qkv" for what in ("weight", "bias")},
    "attn_output.weight": "self_attn.o_proj.weight",
    "attn_output.bias": "self_attn.o_proj.bias",
    "attn_sinks.weight": "self_attn.sinks",
    "post_attention_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate_inp.weight": "mlp.router.weight",
    "ffn_gate_inp.bias": "mlp.router.bias",
    "ffn_gate_up_exps.weight": "mlp.experts.gate_up_proj",
    "ffn_gate_up_exps.bias": "mlp.experts.gate_up_proj_bias",
    "ffn_down_exps.weight": "mlp.experts.down_proj",
    "ffn_down_exps.bias": "mlp.experts.down_proj_bias",
}


def model() -> Any:
    """The checkpoint's own code."""
    from transformers import GptOssConfig, GptOssForCausalLM

    return GptOssForCausalLM(
        GptOssConfig(
            vocab_size=96, hidden_size=EMBD, intermediate_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KV,
            head_dim=HEAD, num_local_experts=EXPERTS, num_experts_per_tok=2, sliding_window=WINDOW, rms_norm_eps=1e-5, tie_word_embeddings=False,
            attn_implementation="eager", experts_implementation="eager", pad_token_id=0,
        )
    )  # fmt: skip


def state(t: Tensors) -> Tensors:
    """Names; experts' matrices are transposed, and those of gates and ups are one, row by row."""
    for i in range(LAYERS):
        here = f"blk.{i}.ffn_"
        for what in ("weight", "bias"):
            gate, up = t[f"{here}gate_exps.{what}"], t[f"{here}up_exps.{what}"]
            t[f"{here}gate_up_exps.{what}"] = np.stack([gate, up], 2).reshape(EXPERTS, 2 * WIDTH, *gate.shape[2:])
        for name in ("gate_up", "down"):
            t[f"{here}{name}_exps.weight"] = t[f"{here}{name}_exps.weight"].swapaxes(1, 2)
    return renamed(t, LAYERS, NAMES)


CASES = {
    "gpt-oss-ramp": Case(
        "gpt-oss",
        model,
        {
            "block_count": LAYERS,
            "context_length": 131072,
            "embedding_length": EMBD,
            "feed_forward_length": WIDTH,
            "attention.head_count": HEADS,
            "attention.head_count_kv": KV,
            "attention.key_length": HEAD,
            "attention.value_length": HEAD,
            "attention.layer_norm_rms_epsilon": 1e-5,
            "attention.sliding_window": WINDOW,
            "rope.freq_base": 150000.0,
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 32.0,
            "rope.scaling.original_context_length": 4096,
            "expert_count": EXPERTS,
            "expert_used_count": 2,
            "expert_feed_forward_length": WIDTH,
        },
        {
            "token_embd.weight": (96, EMBD),
            "output_norm.weight": (EMBD,),
            "output.weight": (96, EMBD),
            **per_layer(
                LAYERS,
                {
                    "attn_norm.weight": (EMBD,),
                    "attn_q.weight": (HEADS * HEAD, EMBD),
                    "attn_q.bias": (HEADS * HEAD,),
                    "attn_k.weight": (KV * HEAD, EMBD),
                    "attn_k.bias": (KV * HEAD,),
                    "attn_v.weight": (KV * HEAD, EMBD),
                    "attn_v.bias": (KV * HEAD,),
                    "attn_sinks.weight": (HEADS,),
                    "attn_output.weight": (EMBD, HEADS * HEAD),
                    "attn_output.bias": (EMBD,),
                    "post_attention_norm.weight": (EMBD,),
                    "ffn_gate_inp.weight": (EXPERTS, EMBD),
                    "ffn_gate_inp.bias": (EXPERTS,),
                    "ffn_gate_exps.weight": (EXPERTS, WIDTH, EMBD),
                    "ffn_gate_exps.bias": (EXPERTS, WIDTH),
                    "ffn_up_exps.weight": (EXPERTS, WIDTH, EMBD),
                    "ffn_up_exps.bias": (EXPERTS, WIDTH),
                    "ffn_down_exps.weight": (EXPERTS, EMBD, WIDTH),
                    "ffn_down_exps.bias": (EXPERTS, EMBD),
                },
            ),
        },
        state,
        windows=(WINDOW,),
        spreads=[("*.ffn_*_exps.bias", 0.0, 3.0)],
    ),
}
