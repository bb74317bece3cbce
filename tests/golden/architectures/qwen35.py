"""Qwen3.5: delta nets whose value heads the converter put in another order, gated attention, a partial rope; dense and with experts."""

from __future__ import annotations

from typing import Any

import numpy as np
from make import Case, Tensors, renamed

KINDS, WIDTH, HEADS, KV, HEAD = ("linear_attention", "full_attention"), 32, 4, 2, 16
KEYS, VALUES, KEY, VALUE, TAPS = 2, 6, 12, 12, 4
QK, V, FEED, EXPERTS, EXPERT, SHARED = 2 * KEYS * KEY, VALUES * VALUE, 40, 5, 24, 20
NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    "post_attention_norm.weight": "post_attention_layernorm.weight",
    "attn_qkv.weight": "linear_attn.in_proj_qkv.weight",
    "attn_gate.weight": "linear_attn.in_proj_z.weight",
    "ssm_beta.weight": "linear_attn.in_proj_b.weight",
    "ssm_alpha.weight": "linear_attn.in_proj_a.weight",
    "ssm_a": "linear_attn.A_log",
    "ssm_dt.bias": "linear_attn.dt_bias",
    "ssm_conv1d.weight": "linear_attn.conv1d.weight",
    "ssm_norm.weight": "linear_attn.norm.weight",
    "ssm_out.weight": "linear_attn.out_proj.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_q_norm.weight": "self_attn.q_norm.weight",
    "attn_k_norm.weight": "self_attn.k_norm.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
    "ffn_gate_inp.weight": "mlp.gate.weight",
    "ffn_gate_up_exps": "mlp.experts.gate_up_proj",
    "ffn_down_exps.weight": "mlp.experts.down_proj",
    "ffn_gate_shexp.weight": "mlp.shared_expert.gate_proj.weight",
    "ffn_up_shexp.weight": "mlp.shared_expert.up_proj.weight",
    "ffn_down_shexp.weight": "mlp.shared_expert.down_proj.weight",
    "ffn_gate_inp_shexp.weight": "mlp.shared_expert_gate.weight",
}
ONE_MORE = ("attn_norm", "post_attention_norm", "attn_q_norm", "attn_k_norm")   # norms of which the file holds 1 + w


def model(experts: bool) -> Any:
    """The checkpoint's own code."""
    import transformers as T

    common: dict[str, Any] = {
        "vocab_size": 96, "hidden_size": WIDTH, "num_hidden_layers": len(KINDS), "layer_types": list(KINDS), "num_attention_heads": HEADS,
        "num_key_value_heads": KV, "head_dim": HEAD, "linear_num_key_heads": KEYS, "linear_num_value_heads": VALUES, "linear_key_head_dim": KEY,
        "linear_value_head_dim": VALUE, "linear_conv_kernel_dim": TAPS, "rms_norm_eps": 1e-6, "max_position_embeddings": 128, "attn_implementation": "eager",
        "experts_implementation": "eager",
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5, "mrope_section": [2, 1, 1], "mrope_interleaved": True},
    }   # fmt: skip
    if not experts:
        return T.Qwen3_5ForCausalLM(T.Qwen3_5TextConfig(intermediate_size=FEED, **common))
    more = {"moe_intermediate_size": EXPERT, "shared_expert_intermediate_size": SHARED, "num_experts": EXPERTS, "num_experts_per_tok": 2}
    return T.Qwen3_5MoeForCausalLM(T.Qwen3_5MoeTextConfig(**more, **common))


def grouped(x: np.ndarray, width: int) -> np.ndarray:
    """Value heads along the first axis as the checkpoint has them: those of a key head together."""
    return x.reshape(VALUES // KEYS, KEYS, width, -1).swapaxes(0, 1).reshape(x.shape)


def state(t: Tensors) -> Tensors:
    """Names, the order of value heads, norms without the 1."""
    t["output_norm.weight"] = t["output_norm.weight"] - 1
    for i, kind in enumerate(KINDS):
        b = f"blk.{i}."
        for name in ONE_MORE:
            if f"{b}{name}.weight" in t:
                t[f"{b}{name}.weight"] = t[f"{b}{name}.weight"] - 1
        if kind == "linear_attention":
            t[b + "ssm_a"] = grouped(np.log(-t[b + "ssm_a"]), 1)
            for name, width in (("ssm_dt.bias", 1), ("ssm_beta.weight", 1), ("ssm_alpha.weight", 1), ("attn_gate.weight", VALUE)):
                t[b + name] = grouped(t[b + name], width)
            for name in ("attn_qkv.weight", "ssm_conv1d.weight"):
                t[b + name] = np.concatenate([t[b + name][:QK], grouped(t[b + name][QK:], VALUE)])
            t[b + "ssm_conv1d.weight"] = t[b + "ssm_conv1d.weight"][:, None]
            t[b + "ssm_out.weight"] = grouped(t[b + "ssm_out.weight"].T, VALUE).T
        if b + "ffn_gate_exps.weight" in t:
            t[b + "ffn_gate_up_exps"] = np.concatenate([t[b + "ffn_gate_exps.weight"], t[b + "ffn_up_exps.weight"]], 1)
            t[b + "ffn_gate_inp_shexp.weight"] = t[b + "ffn_gate_inp_shexp.weight"][None]
    return renamed(t, len(KINDS), NAMES)


def layer(kind: str, experts: bool) -> dict[str, tuple[int, ...]]:
    """Shapes of one layer."""
    net = {
        "attn_qkv.weight": (QK + V, WIDTH), "attn_gate.weight": (V, WIDTH), "ssm_beta.weight": (VALUES, WIDTH), "ssm_alpha.weight": (VALUES, WIDTH),
        "ssm_a": (VALUES,), "ssm_dt.bias": (VALUES,), "ssm_conv1d.weight": (QK + V, TAPS), "ssm_norm.weight": (VALUE,), "ssm_out.weight": (WIDTH, V),
    }   # fmt: skip
    attention = {
        "attn_q.weight": (2 * HEADS * HEAD, WIDTH), "attn_k.weight": (KV * HEAD, WIDTH), "attn_v.weight": (KV * HEAD, WIDTH),
        "attn_q_norm.weight": (HEAD,), "attn_k_norm.weight": (HEAD,), "attn_output.weight": (WIDTH, HEADS * HEAD),
    }   # fmt: skip
    dense = {"ffn_gate.weight": (FEED, WIDTH), "ffn_up.weight": (FEED, WIDTH), "ffn_down.weight": (WIDTH, FEED)}
    routed = {
        "ffn_gate_inp.weight": (EXPERTS, WIDTH), "ffn_gate_exps.weight": (EXPERTS, EXPERT, WIDTH), "ffn_up_exps.weight": (EXPERTS, EXPERT, WIDTH),
        "ffn_down_exps.weight": (EXPERTS, WIDTH, EXPERT), "ffn_gate_shexp.weight": (SHARED, WIDTH), "ffn_up_shexp.weight": (SHARED, WIDTH),
        "ffn_down_shexp.weight": (WIDTH, SHARED), "ffn_gate_inp_shexp.weight": (WIDTH,),
    }   # fmt: skip
    norms = {"attn_norm.weight": (WIDTH,), "post_attention_norm.weight": (WIDTH,)}
    return norms | (net if kind == "linear_attention" else attention) | (routed if experts else dense)


def case(architecture: str, experts: bool) -> Case:
    """One with experts or without."""
    feed = {
        "expert_count": EXPERTS, "expert_used_count": 2, "expert_feed_forward_length": EXPERT, "expert_shared_feed_forward_length": SHARED,
    } if experts else {"feed_forward_length": FEED}   # fmt: skip
    layers = {f"blk.{i}.{name}": shape for i, kind in enumerate(KINDS) for name, shape in layer(kind, experts).items()}
    return Case(
        architecture,
        lambda: model(experts),
        {
            "block_count": len(KINDS), "context_length": 128, "embedding_length": WIDTH, "attention.head_count": HEADS, "attention.head_count_kv": KV,
            "attention.key_length": HEAD, "attention.value_length": HEAD, "attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 10000.0,
            "rope.dimension_count": HEAD // 2, "rope.dimension_sections": [2, 1, 1, 0], "full_attention_interval": 2, "ssm.conv_kernel": TAPS,
            "ssm.state_size": KEY, "ssm.group_count": KEYS, "ssm.time_step_rank": VALUES, "ssm.inner_size": V, **feed,
        },
        {"token_embd.weight": (96, WIDTH), "output_norm.weight": (WIDTH,), "output.weight": (96, WIDTH), **layers},
        state,
    )   # fmt: skip


CASES = {"qwen35": case("qwen35", experts=False), "qwen35moe": case("qwen35moe", experts=True)}
