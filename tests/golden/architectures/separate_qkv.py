"""Decoders with layer norms and q, k, v apart: Phi-2, StableLM and its 12B, StarCoder 2, Command R+, Command R7B and Nemotron."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from make import Case, Tensors, per_layer, renamed

VOCAB, EMBD, HEADS, KV, FF, CONTEXT = 96, 48, 6, 2, 40, 128
WIDTH = EMBD // HEADS
NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OWN_NORMS = {"attn_q_norm.weight": (HEADS, WIDTH), "attn_k_norm.weight": (KV, WIDTH)}
HALF_TURNED = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}


def state(t: Tensors, layers: int) -> Tensors:
    """Other names."""
    result = renamed(t, layers, {f"{here}.{kind}": f"{there}.{kind}" for here, there in NAMES.items() for kind in ("weight", "bias")})
    return result | ({"model.norm.bias": t["output_norm.bias"]} if "output_norm.bias" in t else {})


def of_stablelm(t: Tensors, layers: int) -> Tensors:
    """A norm is a module for each head."""
    result = {}
    for name, value in state(t, layers).items():
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            result |= {name.replace("_norm.weight", f"_layernorm.norms.{head}.weight"): row for head, row in enumerate(value)}
        else:
            result[name] = value
    return result


def of_phi(t: Tensors, layers: int) -> Tensors:
    """Some modules have names of their own."""
    names = {"mlp.up_proj": "mlp.fc1", "mlp.down_proj": "mlp.fc2", "self_attn.o_proj": "self_attn.dense", "model.norm": "model.final_layernorm"}
    return {swapped(name, names): value for name, value in (state(t, layers) | {"lm_head.bias": t["output.bias"]}).items()}


def of_starcoder2(t: Tensors, layers: int) -> Tensors:
    """The feed-forward has names of its own."""
    return {swapped(name, {"mlp.up_proj": "mlp.c_fc", "mlp.down_proj": "mlp.c_proj"}): value for name, value in state(t, layers).items()}


def swapped(name: str, names: dict[str, str]) -> str:
    """The name with parts of it replaced."""
    for part, other in names.items():
        name = name.replace(part, other)
    return name


def of_nemotron(t: Tensors, layers: int) -> Tensors:
    """Norms hold w where the file holds 1 + w."""
    return {name: value - 1 if name.endswith("norm.weight") else value for name, value in state(t, layers).items()}


def case(
    architecture: str,
    name: str,
    back: Callable[[Tensors, int], Tensors],
    options: dict[str, Any],
    metadata: dict[str, Any],
    layer: dict[str, tuple[int, ...]],
    outer: dict[str, tuple[int, ...]],
    layers: int = 2,
    windows: tuple[int, ...] = (),
) -> Case:
    """name: of the class in transformers; layer, outer: tensors besides those that all of these have."""

    def model() -> Any:
        import transformers

        config = getattr(transformers, f"{name}Config")(
            vocab_size=VOCAB, hidden_size=EMBD, intermediate_size=FF, num_hidden_layers=layers, num_attention_heads=HEADS, num_key_value_heads=KV,
            max_position_embeddings=CONTEXT, pad_token_id=0, bos_token_id=1, eos_token_id=2, attn_implementation="eager", **options,
        )  # fmt: skip
        return getattr(transformers, f"{name}ForCausalLM")(config)

    common = {
        "attn_norm.weight": (EMBD,), "attn_q.weight": (EMBD, EMBD), "attn_k.weight": (KV * WIDTH, EMBD), "attn_v.weight": (KV * WIDTH, EMBD),
        "attn_output.weight": (EMBD, EMBD), "ffn_up.weight": (FF, EMBD), "ffn_down.weight": (EMBD, FF),
    }  # fmt: skip
    keys = {
        "block_count": layers, "context_length": CONTEXT, "embedding_length": EMBD, "feed_forward_length": FF, "attention.head_count": HEADS,
        "attention.head_count_kv": KV, "attention.layer_norm_epsilon": 1e-5, **metadata,
    }  # fmt: skip
    shapes = {"token_embd.weight": (VOCAB, EMBD), "output_norm.weight": (EMBD,), **outer, **per_layer(layers, {**common, **layer})}
    return Case(architecture, model, keys, shapes, lambda t: back(t, layers), windows)


GATE = {"ffn_gate.weight": (FF, EMBD)}
QKV_BIASES = {"attn_q.bias": (EMBD,), "attn_k.bias": (KV * WIDTH,), "attn_v.bias": (KV * WIDTH,)}
SECOND_NORM = {"attn_norm.bias": (EMBD,), "ffn_norm.weight": (EMBD,), "ffn_norm.bias": (EMBD,)}
OTHER_BIASES = {"attn_output.bias": (EMBD,), "ffn_up.bias": (FF,), "ffn_down.bias": (EMBD,)}
UNTIED = {"output_norm.bias": (EMBD,), "output.weight": (VOCAB, EMBD)}
CASES = {
    "phi2": case(
        "phi2", "Phi", of_phi, {"layer_norm_eps": 1e-5, "rope_parameters": HALF_TURNED}, {"rope.dimension_count": WIDTH // 2},
        {"attn_norm.bias": (EMBD,), **QKV_BIASES, **OTHER_BIASES}, {**UNTIED, "output.bias": (VOCAB,)},
    ),
    "starcoder2": case(
        "starcoder2", "Starcoder2", of_starcoder2,
        {"norm_epsilon": 1e-5, "sliding_window": None, "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0}}, {"rope.freq_base": 100000.0},
        {**QKV_BIASES, **SECOND_NORM, **OTHER_BIASES}, {"output_norm.bias": (EMBD,)},
    ),
    "stablelm": case(
        "stablelm", "StableLm", of_stablelm, {"layer_norm_eps": 1e-5, "use_qkv_bias": True, "rope_parameters": HALF_TURNED},
        {"rope.dimension_count": WIDTH // 2, "use_parallel_residual": False}, {**QKV_BIASES, **SECOND_NORM, **GATE}, UNTIED,
    ),
    "stablelm-2-12b": case(
        "stablelm", "StableLm", of_stablelm,
        {"layer_norm_eps": 1e-5, "qk_layernorm": True, "use_parallel_residual": True, "rope_parameters": HALF_TURNED},
        {"rope.dimension_count": WIDTH // 2, "use_parallel_residual": True},
        {"attn_norm.bias": (EMBD,), **OWN_NORMS, **GATE}, UNTIED,
    ),
    "command-r-plus": case(
        "command-r", "Cohere", state,
        {"layer_norm_eps": 1e-5, "use_qk_norm": True, "logit_scale": 0.25, "rope_parameters": {"rope_type": "default", "rope_theta": 75000.0}},
        {"logit_scale": 0.25, "rope.freq_base": 75000.0, "rope.scaling.type": "none"}, {**OWN_NORMS, **GATE}, {},
    ),
    "cohere2": case(
        "cohere2", "Cohere2", state,
        {"layer_norm_eps": 1e-5, "sliding_window": 16, "logit_scale": 0.25, "rope_parameters": {"rope_type": "default", "rope_theta": 50000.0}},
        {"logit_scale": 0.25, "attention.sliding_window": 16, "rope.dimension_count": WIDTH, "rope.freq_base": 50000.0, "rope.scaling.type": "none"}, GATE, {},
        layers=4, windows=(16,),
    ),
    "nemotron": case(
        "nemotron", "Nemotron", of_nemotron, {"norm_eps": 1e-5, "head_dim": WIDTH, "rope_parameters": HALF_TURNED},
        {"rope.dimension_count": WIDTH // 2, "rope.freq_base": 10000.0, "rope.scaling.type": "none", "attention.key_length": WIDTH, "attention.value_length": WIDTH},
        SECOND_NORM, UNTIED,
    ),
}  # fmt: skip
