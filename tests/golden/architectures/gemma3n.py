"""Gemma 3n: seven layers, of which the last two read keys and values of earlier ones, the first two are sparse."""

from __future__ import annotations

import math
from typing import Any

from make import Case, Tensors, renamed

LAYERS, SHARED, VOCAB, EMBD, HEADS, KV, WIDTH, STREAMS, RANK, NARROW = 7, 2, 96, 32, 4, 2, 16, 4, 6, 8
FF = [40, 40, 40, 24, 40, 40, 40]
GLOBAL = (2, 4, 6)
SPARSITY = [0.95, 0.7, 0.0, 0.0, 0.0, 0.0, 0.0]
DEVIATIONS = [1.6448535919189453, 0.5244004726409912] + [-math.inf] * 5
OWN = {
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_k_norm.weight": "self_attn.k_norm.weight",
}
NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "attn_q_norm.weight": "self_attn.q_norm.weight",
    "post_attention_norm.weight": "post_attention_layernorm.weight",
    "ffn_norm.weight": "pre_feedforward_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
    "post_ffw_norm.weight": "post_feedforward_layernorm.weight",
    "inp_gate.weight": "per_layer_input_gate.weight",
    "proj.weight": "per_layer_projection.weight",
    "post_norm.weight": "post_per_layer_input_norm.weight",
    "altup_correct_coef.weight": "altup.correction_coefs.weight",
    "altup_correct_scale.weight": "altup.correct_output_scale",
    "altup_predict_coef.weight": "altup.prediction_coefs.weight",
    "altup_router.weight": "altup.modality_router.weight",
    "altup_router_norm.weight": "altup.router_norm.weight",
    "laurel_l.weight": "laurel.linear_left.weight",
    "laurel_r.weight": "laurel.linear_right.weight",
    "laurel_post_norm.weight": "laurel.post_laurel_norm.weight",
}


def model() -> Any:
    """The checkpoint's own code."""
    from transformers import Gemma3nForCausalLM, Gemma3nTextConfig

    return Gemma3nForCausalLM(
        Gemma3nTextConfig(
            vocab_size=VOCAB,
            vocab_size_per_layer_input=VOCAB,
            hidden_size=EMBD,
            hidden_size_per_layer_input=NARROW,
            intermediate_size=FF,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=KV,
            num_kv_shared_layers=SHARED,
            head_dim=WIDTH,
            max_position_embeddings=128,
            sliding_window=16,
            layer_types=["full_attention" if i in GLOBAL else "sliding_attention" for i in range(LAYERS)],
            activation_sparsity_pattern=SPARSITY,
            altup_num_inputs=STREAMS,
            laurel_rank=RANK,
            final_logit_softcapping=4.0,
            attn_implementation="eager",
        )
    )


def state(t: Tensors) -> Tensors:
    """Names, matrices of their own for each stream, and nothing of what published files have beyond the model."""
    result = renamed(t, LAYERS, NAMES) | renamed(t, LAYERS - SHARED, OWN)
    for name in ("per_layer_model_proj", "per_layer_proj_norm", "per_layer_token_embd"):
        there = {"per_layer_model_proj": "per_layer_model_projection", "per_layer_proj_norm": "per_layer_projection_norm"}
        result[f"model.{there.get(name, 'embed_tokens_per_layer')}.weight"] = t[f"{name}.weight"]
    for i in range(STREAMS - 1):
        result[f"model.altup_projections.{i}.weight"] = t["altup_proj.weight"][i]
        result[f"model.altup_unembed_projections.{i}.weight"] = t["altup_unembd_proj.weight"][i]
    return result


def layer(i: int) -> dict[str, tuple[int, ...]]:
    """The shapes of one layer."""
    odd = {
        "attn_q.weight": (HEADS * WIDTH, EMBD),
        "attn_k.weight": (KV * WIDTH, EMBD),
        "attn_v.weight": (KV * WIDTH, EMBD),
        "attn_q_norm.weight": (WIDTH,),
        "attn_k_norm.weight": (WIDTH,),
        "attn_output.weight": (EMBD, HEADS * WIDTH),
        "ffn_gate.weight": (FF[i], EMBD),
        "ffn_up.weight": (FF[i], EMBD),
        "ffn_down.weight": (EMBD, FF[i]),
        "inp_gate.weight": (NARROW, EMBD),
        "proj.weight": (EMBD, NARROW),
        "altup_correct_coef.weight": (STREAMS, STREAMS),
        "altup_predict_coef.weight": (STREAMS * STREAMS, STREAMS),
        "altup_router.weight": (STREAMS, EMBD),
        "laurel_l.weight": (RANK, EMBD),
        "laurel_r.weight": (EMBD, RANK),
    }
    return {f"blk.{i}.{name}": odd.get(name, (EMBD,)) for name in (*NAMES, *OWN)}


CASES = {
    "gemma3n": Case(
        "gemma3n",
        model,
        {
            "block_count": LAYERS,
            "context_length": 128,
            "embedding_length": EMBD,
            "embedding_length_per_layer_input": NARROW,
            "feed_forward_length": FF,
            "attention.head_count": HEADS,
            "attention.head_count_kv": KV,
            "attention.key_length": WIDTH,
            "attention.value_length": WIDTH,
            "attention.layer_norm_rms_epsilon": 1e-6,
            "attention.sliding_window": 16,
            "attention.sliding_window_pattern": [i not in GLOBAL for i in range(LAYERS)],
            "attention.shared_kv_layers": SHARED,
            "rope.freq_base": 1e6,
            "rope.freq_base_swa": 1e4,
            "altup.active_idx": 0,
            "altup.num_inputs": STREAMS,
            "activation_sparsity_scale": DEVIATIONS,
            "final_logit_softcapping": 4.0,
        },
        {
            "token_embd.weight": (VOCAB, EMBD),
            "per_layer_token_embd.weight": (VOCAB, LAYERS * NARROW),
            "per_layer_model_proj.weight": (LAYERS * NARROW, EMBD),
            "per_layer_proj_norm.weight": (NARROW,),
            "altup_proj.weight": (STREAMS - 1, EMBD, EMBD),
            "altup_unembd_proj.weight": (STREAMS - 1, EMBD, EMBD),
            "output_norm.weight": (EMBD,),
            **{name: shape for i in range(LAYERS) for name, shape in layer(i).items()},
        },
        state,
        windows=(16,),
        spreads=[
            ("token_embd.weight", 0.0, 0.3),
            ("per_layer_token_embd.weight", 0.0, 0.5),
            ("*.attn_q_norm.weight", 0.4, 0.2),
            ("*.altup_router.weight", 0.0, 4.0),
            ("*.altup_*_coef.weight", 0.0, 0.3),
            ("*.altup_correct_scale.weight", 1.0, 0.5),
        ],
    ),
}
