"""Llama 4: layers by chunks, layers without rope whose queries grow, experts that are given x times their score, in every second layer.

No key of a published file holds the chunk's length or the growth; they are stated here to be small enough for a test.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from make import Case, Tensors, per_layer, renamed

LAYERS, HEADS, KV, EMBD, HEAD, FF, WIDTH, EXPERTS, CHUNK, LENGTH = 4, 4, 2, 48, 16, 40, 24, 4, 16, 8
NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    **{f"attn_{x}.weight": f"self_attn.{x}_proj.weight" for x in "qkv"},
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "feed_forward.gate_proj.weight",
    "ffn_up.weight": "feed_forward.up_proj.weight",
    "ffn_down.weight": "feed_forward.down_proj.weight",
    "ffn_gate_inp.weight": "feed_forward.router.weight",
    "ffn_gate_up_exps.weight": "feed_forward.experts.gate_up_proj",
    "ffn_down_exps.weight": "feed_forward.experts.down_proj",
    "ffn_gate_shexp.weight": "feed_forward.shared_expert.gate_proj.weight",
    "ffn_up_shexp.weight": "feed_forward.shared_expert.up_proj.weight",
    "ffn_down_shexp.weight": "feed_forward.shared_expert.down_proj.weight",
}
EXPERT = {
    "ffn_gate_inp.weight": (EXPERTS, EMBD),
    "ffn_gate_exps.weight": (EXPERTS, WIDTH, EMBD),
    "ffn_up_exps.weight": (EXPERTS, WIDTH, EMBD),
    "ffn_down_exps.weight": (EXPERTS, EMBD, WIDTH),
    "ffn_gate_shexp.weight": (WIDTH, EMBD),
    "ffn_up_shexp.weight": (WIDTH, EMBD),
    "ffn_down_shexp.weight": (EMBD, WIDTH),
}
DENSE = {"ffn_gate.weight": (FF, EMBD), "ffn_up.weight": (FF, EMBD), "ffn_down.weight": (EMBD, FF)}


def model() -> Any:
    """The checkpoint's own code."""
    from transformers import Llama4ForCausalLM, Llama4TextConfig

    return Llama4ForCausalLM(
        Llama4TextConfig(
            vocab_size=96, hidden_size=EMBD, intermediate_size=WIDTH, intermediate_size_mlp=FF, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
            num_key_value_heads=KV, head_dim=HEAD, num_experts_per_tok=2, num_local_experts=EXPERTS, interleave_moe_layer_step=2,
            max_position_embeddings=256, rms_norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 50000.0},
            attention_chunk_size=CHUNK, floor_scale=LENGTH, attn_scale=0.3, tie_word_embeddings=False, attn_implementation="eager",
            experts_implementation="eager", pad_token_id=0,
        )
    )  # fmt: skip


def state(t: Tensors) -> Tensors:
    """Names; experts' matrices are transposed, and those of gates and ups are one."""
    for i in range(1, LAYERS, 2):
        here = f"blk.{i}.ffn_"
        t[f"{here}gate_up_exps.weight"] = np.concatenate([t[f"{here}gate_exps.weight"], t[f"{here}up_exps.weight"]], 1).swapaxes(1, 2)
        t[f"{here}down_exps.weight"] = t[f"{here}down_exps.weight"].swapaxes(1, 2)
    return renamed(t, LAYERS, NAMES)


CASES = {
    "llama4": Case(
        "llama4",
        model,
        {
            "block_count": LAYERS,
            "context_length": 256,
            "embedding_length": EMBD,
            "feed_forward_length": FF,
            "attention.head_count": HEADS,
            "attention.head_count_kv": KV,
            "attention.key_length": HEAD,
            "attention.value_length": HEAD,
            "attention.layer_norm_rms_epsilon": 1e-5,
            "rope.freq_base": 50000.0,
            "rope.dimension_count": HEAD,
            "expert_count": EXPERTS,
            "expert_used_count": 2,
            "expert_feed_forward_length": WIDTH,
            "interleave_moe_layer_step": 2,
            "attention.sliding_window": CHUNK,
            "attention.temperature_length": LENGTH,
            "attention.temperature_scale": 0.3,
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
                    "attn_k.weight": (KV * HEAD, EMBD),
                    "attn_v.weight": (KV * HEAD, EMBD),
                    "attn_output.weight": (EMBD, HEADS * HEAD),
                    "ffn_norm.weight": (EMBD,),
                },
            ),
            **{f"blk.{i}.{name}": shape for i in range(LAYERS) for name, shape in (EXPERT if i % 2 else DENSE).items()},
        },
        state,
        windows=(CHUNK,),
    ),
}
