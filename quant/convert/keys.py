"""The metadata that most families share, and the GGUF type of every key. Knows config.json's names of things.

Names and types are those of llama.cpp's converter (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
"""

from __future__ import annotations

import math
from typing import Any

from edgerun.errors import ModelError, Unsupported
from edgerun.gguf.file import shown
from quant.convert import rope
from quant.convert.config import LARGEST, Config
from quant.convert.family import Keys

_F32 = frozenset({
    "activation_sparsity_scale", "attention.clamp_kqv", "attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon", "attention.max_alibi_bias",
    "attention.scale", "attention.temperature_scale", "attn_logit_softcapping", "embedding_scale", "expert_weights_scale", "final_logit_softcapping",
    "logit_scale", "residual_scale", "rope.freq_base", "rope.freq_base_swa", "rope.scaling.alpha", "rope.scaling.attn_factor", "rope.scaling.factor",
    "rope.scaling.yarn_attn_factor", "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow", "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_log_multiplier", "xielu.alpha_n", "xielu.alpha_p", "xielu.beta", "xielu.eps",
})  # fmt: skip
_BOOL = frozenset({
    "attention.causal", "attention.recurrent_layers", "attention.sliding_window_pattern", "expert_weights_norm", "rope.scaling.finetuned",
    "ssm.dt_b_c_rms", "use_parallel_residual",
})  # fmt: skip
_STR = frozenset({"classifier.output_labels", "hidden_act", "rope.scaling.type", "tensor_data_layout"})
_GATING = {"softmax": 1, "sigmoid": 2}


def gating(c: Config) -> int | None:
    """How experts are scored, by GGUF's number."""
    name = c.get("score_function scoring_func score_func moe_router_activation moe_router_activation_func")
    if name is not None and (not isinstance(name, str) or name not in _GATING):
        raise Unsupported(f"config.json: experts scored by {shown(str(name))!a} are not supported; softmax and sigmoid are")
    return _GATING[name] if name is not None else None


STANDARD: Keys = {
    "block_count": "num_hidden_layers n_layers n_layer num_layers",
    "context_length": "max_position_embeddings n_ctx n_positions max_length max_sequence_length model_max_length",
    "embedding_length": "hidden_size n_embd dim",
    "feed_forward_length": "intermediate_size n_inner hidden_dim",
    "attention.head_count": "num_attention_heads n_head n_heads",
    "attention.head_count_kv": "num_key_value_heads n_kv_heads",
    **rope.KEYS,
    "attention.layer_norm_rms_epsilon": "rms_norm_eps norm_eps",
    "attention.layer_norm_epsilon": "layer_norm_eps layer_norm_epsilon norm_epsilon",
    "expert_count": "num_local_experts num_experts",
    "expert_used_count": "num_experts_per_tok num_experts_per_token top_k_experts",
    "expert_group_count": "n_group",
    "expert_group_used_count": "topk_group",
    "expert_gating_func": gating,
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
}


def of(architecture: str, sources: Keys, config: Config) -> list[tuple[str, Any, str]]:
    """(key, value, type) of every key that is written. ModelError for a value of a wrong type."""
    found = ((key, config.get(source) if isinstance(source, str) else source(config)) for key, source in sources.items())
    return [(f"{architecture}.{key}", *_typed(key, value)) for key, value in found if value is not None]


def _typed(key: str, value: Any) -> tuple[Any, str]:
    """The value and its GGUF type, of the items for a list."""
    kind = "f32" if key in _F32 else "str" if key in _STR else "bool" if key in _BOOL else "u32"
    fits = {
        "f32": lambda v: isinstance(v, int | float) and not isinstance(v, bool) and (abs(v) <= LARGEST or v == -math.inf),
        "str": lambda v: isinstance(v, str),
        "bool": lambda v: isinstance(v, bool),
        "u32": lambda v: type(v) is int and 0 <= v < 1 << 32,
    }[kind]
    items = value if isinstance(value, list) else [value]
    if not items or not all(map(fits, items)):
        raise ModelError(f"config.json gives {key} the value {shown(repr(value))}, which is not of type {kind}")
    return ([float(v) for v in value] if isinstance(value, list) else float(value)) if kind == "f32" else value, kind
