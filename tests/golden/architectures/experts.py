"""Mixtures of experts: Mixtral, Qwen2-MoE, Qwen3-MoE, OLMoE and Granite-MoE with and without a shared expert."""

from __future__ import annotations

from typing import Any

import numpy as np
from make import Case, Tensors, per_layer, renamed, unpermuted

LAYERS, HEADS, KV, WIDTH, HEAD, EXPERTS, USED, HIDDEN = 2, 4, 2, 32, 8, 5, 2, 24
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
COMMON = {
    "vocab_size": 96,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV,
    "num_experts_per_tok": USED,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "attn_implementation": "eager",
    "experts_implementation": "eager",
}
METADATA = {
    "block_count": LAYERS,
    "context_length": 128,
    "embedding_length": WIDTH,
    "attention.head_count": HEADS,
    "attention.head_count_kv": KV,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "expert_count": EXPERTS,
    "expert_used_count": USED,
}
SHAPES = {
    "attn_norm.weight": (WIDTH,),
    "attn_q.weight": (HEADS * HEAD, WIDTH),
    "attn_k.weight": (KV * HEAD, WIDTH),
    "attn_v.weight": (KV * HEAD, WIDTH),
    "attn_output.weight": (WIDTH, HEADS * HEAD),
    "ffn_norm.weight": (WIDTH,),
    "ffn_gate_inp.weight": (EXPERTS, WIDTH),
    "ffn_gate_exps.weight": (EXPERTS, HIDDEN, WIDTH),
    "ffn_up_exps.weight": (EXPERTS, HIDDEN, WIDTH),
    "ffn_down_exps.weight": (EXPERTS, WIDTH, HIDDEN),
}
NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    **{f"attn_{x}.{part}": f"self_attn.{x}_proj.{part}" for x in "qkv" for part in ("weight", "bias")},
    "attn_output.weight": "self_attn.o_proj.weight",
    "attn_q_norm.weight": "self_attn.q_norm.weight",
    "attn_k_norm.weight": "self_attn.k_norm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
}
SHARED = {f"ffn_{name}_shexp.weight": f"mlp.shared_expert.{name}_proj.weight" for name in ("gate", "up", "down")}


def outer(tied: bool = False) -> dict[str, tuple[int, ...]]:
    """Shapes around the layers."""
    return {"token_embd.weight": (96, WIDTH), "output_norm.weight": (WIDTH,), **({} if tied else {"output.weight": (96, WIDTH)})}


def stacked(t: Tensors, i: int, block: str) -> Tensors:
    """The experts of layer i as transformers keeps them: gate over up in one stack."""
    both = np.concatenate([t[f"blk.{i}.ffn_gate_exps.weight"], t[f"blk.{i}.ffn_up_exps.weight"]], 1)
    at = f"model.layers.{i}.{block}.experts"
    return {f"{at}.gate_up_proj": both, f"{at}.down_proj": t[f"blk.{i}.ffn_down_exps.weight"]}


def state(t: Tensors, block: str = "mlp", router: str = "gate.weight", more: dict[str, str] | None = None, permuted: bool = False) -> Tensors:
    """GGUF tensors to a state dict."""
    if permuted:
        for i in range(LAYERS):
            t[f"blk.{i}.attn_q.weight"] = unpermuted(t[f"blk.{i}.attn_q.weight"], HEADS)
            t[f"blk.{i}.attn_k.weight"] = unpermuted(t[f"blk.{i}.attn_k.weight"], KV)
    result = renamed(t, LAYERS, NAMES | {"ffn_gate_inp.weight": f"{block}.{router}"} | (more or {}))
    for i in range(LAYERS):
        result |= stacked(t, i, block)
    return result


def olmoe() -> Any:
    from transformers import OlmoeConfig, OlmoeForCausalLM

    heads = COMMON | {"num_key_value_heads": HEADS}
    return OlmoeForCausalLM(OlmoeConfig(**heads, intermediate_size=HIDDEN, num_experts=EXPERTS, norm_topk_prob=False, rope_parameters=ROPE))


def mixtral() -> Any:
    from transformers import MixtralConfig, MixtralForCausalLM

    return MixtralForCausalLM(MixtralConfig(**COMMON, intermediate_size=HIDDEN, num_local_experts=EXPERTS, sliding_window=None, rope_parameters=ROPE))


def qwen2() -> Any:
    from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM

    return Qwen2MoeForCausalLM(
        Qwen2MoeConfig(
            **COMMON, intermediate_size=64, moe_intermediate_size=HIDDEN, shared_expert_intermediate_size=40, num_experts=EXPERTS, norm_topk_prob=False,
            rope_parameters=ROPE,
        )
    )  # fmt: skip


def qwen3() -> Any:
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    return Qwen3MoeForCausalLM(
        Qwen3MoeConfig(
            **COMMON, intermediate_size=64, moe_intermediate_size=HIDDEN, head_dim=HEAD, num_experts=EXPERTS, norm_topk_prob=True, tie_word_embeddings=True,
            rope_parameters=ROPE,
        )
    )  # fmt: skip


def granite() -> Any:
    from transformers import GraniteMoeSharedConfig, GraniteMoeSharedForCausalLM

    return GraniteMoeSharedForCausalLM(
        GraniteMoeSharedConfig(
            **COMMON, intermediate_size=HIDDEN, shared_intermediate_size=40, num_local_experts=EXPERTS, tie_word_embeddings=True,
            embedding_multiplier=6.0, residual_multiplier=0.5, attention_multiplier=0.2, logits_scaling=2.0,
            rope_parameters=ROPE,
        )
    )  # fmt: skip


def granite_state(t: Tensors) -> Tensors:
    result = state(t, "block_sparse_moe", "router.weight", {"ffn_down_shexp.weight": "shared_mlp.output_linear.weight"}, permuted=True)
    for i in range(LAYERS):
        both = [t[f"blk.{i}.ffn_{name}_shexp.weight"] for name in ("gate", "up")]
        result[f"model.layers.{i}.shared_mlp.input_linear.weight"] = np.concatenate(both)
    return result


def shared(width: int) -> dict[str, tuple[int, ...]]:
    """Shapes of a shared expert."""
    return {"ffn_gate_shexp.weight": (width, WIDTH), "ffn_up_shexp.weight": (width, WIDTH), "ffn_down_shexp.weight": (WIDTH, width)}


CASES = {
    "llama-experts": Case(
        "llama", mixtral, METADATA | {"feed_forward_length": HIDDEN, "rope.dimension_count": HEAD}, outer() | per_layer(LAYERS, SHAPES),
        lambda t: state(t, permuted=True),
    ),
    "qwen2moe": Case(
        "qwen2moe", qwen2, METADATA | {"feed_forward_length": 64, "expert_feed_forward_length": HIDDEN, "expert_shared_feed_forward_length": 40},
        outer() | per_layer(LAYERS, SHAPES | shared(40) | {"ffn_gate_inp_shexp.weight": (WIDTH,), "attn_q.bias": (HEADS * HEAD,), "attn_k.bias": (KV * HEAD,), "attn_v.bias": (KV * HEAD,)}),
        lambda t: state({k: v[None] if "inp_shexp" in k else v for k, v in t.items()}, more=SHARED | {"ffn_gate_inp_shexp.weight": "mlp.shared_expert_gate.weight"}),
    ),
    "qwen3moe": Case(
        "qwen3moe", qwen3, METADATA | {"feed_forward_length": 64, "expert_feed_forward_length": HIDDEN, "attention.key_length": HEAD, "attention.value_length": HEAD},
        outer(tied=True) | per_layer(LAYERS, SHAPES | {"attn_q_norm.weight": (HEAD,), "attn_k_norm.weight": (HEAD,)}),
        state,
    ),
    "olmoe": Case(
        "olmoe", olmoe, METADATA | {"feed_forward_length": HIDDEN, "attention.head_count_kv": HEADS},   # as llama.cpp wants it
        outer() | per_layer(LAYERS, SHAPES | {f"attn_{x}.weight": (HEADS * HEAD, WIDTH) for x in "kv"} | {f"attn_{x}_norm.weight": (HEADS * HEAD,) for x in "qk"}),
        state,
    ),
    "granitemoe-shared": Case(
        "granitemoe", granite,
        METADATA | {
            "feed_forward_length": HIDDEN, "expert_shared_feed_forward_length": 40, "rope.dimension_count": HEAD,
            "attention.scale": 0.2, "embedding_scale": 6.0, "residual_scale": 0.5, "logit_scale": 2.0,
        },
        outer(tied=True) | per_layer(LAYERS, SHAPES | shared(40)),
        granite_state,
    ),
}  # fmt: skip
