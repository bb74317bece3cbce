"""Gemma, Gemma 2, Gemma 3 (arXiv:2403.08295, arXiv:2408.00118, arXiv:2503.19786), whose norms hold what is added to 1; Gemma 3n and Gemma 4
(ai.google.dev/gemma). The output of all is the token table.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from edgerun.errors import ModelError
from quant.convert import rope
from quant.convert.config import Config
from quant.convert.family import Family, Keys, Names, To
from quant.convert.keys import STANDARD
from quant.convert.names import ATTENTION, MLP, NORMS, OUTER, QK_NORMS, one_more, with_value

GELU = ("gelu",)   # its approximation by tanh, whatever the name
AROUND: Names = with_value({**OUTER, "lm_head": None}, one_more)
SANDWICH: Names = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
CAPS: Keys = {"attn_logit_softcapping": "attn_logit_softcapping", "final_logit_softcapping": "final_logit_softcapping", "attention.sliding_window": "sliding_window"}
# Without the rows of the token table beyond the vocabulary.
KNOWN_TOKENS: Names = {**AROUND, "embed_tokens": To("token_embd", lambda x, c: x[: c.tokens])}
NO_BASE: Keys = {"rope.freq_base": lambda c: None}


def window(c: Config) -> int | None:
    """The window, where any layer slides."""
    kinds = c.get("layer_types")
    slides = "sliding_attention" in kinds if isinstance(kinds, list) else c.get("sliding_window_pattern") != 1
    return c.get("sliding_window") if slides else None


def slides(c: Config) -> list[bool]:
    """Which layers do."""
    return [kind == "sliding_attention" for kind in c.items("layer_types", c.layers)]


def widths(c: Config) -> list[int] | int:
    """Of the feed-forward: one for all layers, or one each."""
    width = c.get("intermediate_size")
    if isinstance(width, list):
        return width
    shared = c.count("num_kv_shared_layers", 0)
    return [c.count("intermediate_size") * (2 if i >= c.layers - shared else 1) for i in range(c.layers)] if c.flag("use_double_wide_mlp") else c.count("intermediate_size")


def cutoffs(c: Config) -> list[float]:
    """Standard deviations above the mean where a layer's gate begins to pass, for the share that config.json wants to be cut."""
    given = c.get("activation_sparsity_pattern")
    shares = c.items("activation_sparsity_pattern", c.layers) if isinstance(given, list) else [c.number("activation_sparsity_pattern", 0.0)] * c.layers
    if not all(isinstance(share, int | float) and 0 <= share < 1 for share in shares):
        raise ModelError("config.json: activation_sparsity_pattern holds something that is not a share below 1")
    return [NormalDist().inv_cdf(share) if share > 0 else -math.inf for share in shares]


def of_global(c: Config, name: str) -> int:
    """A number of the layers that see everything, where those differ."""
    first = next((str(i) for i, near in enumerate(slides(c)) if not near), "")
    return c.section("per_layer_config").section(first).count(name, c.count(f"global_{name} num_global_{name.removeprefix('num_')}", c.count(name)))


def kv_heads(c: Config) -> list[int]:
    """Key/value heads of each layer."""
    return [c.kv_heads if near else of_global(c, "num_key_value_heads") for near in slides(c)]


def proportional(c: Config) -> dict[str, np.ndarray]:
    """Divisors for the global layers, whose rope turns the first pairs and leaves the others."""
    pairs, share = of_global(c, "head_dim") // 2, rope.parameters(c).number("partial_rotary_factor", 1.0)
    if not 0 < pairs <= 1 << 16 or not 0 <= share <= 1:
        raise ModelError("config.json: head_dim and partial_rotary_factor make no sense together")
    return {"rope_freqs.weight": np.where(np.arange(pairs) < int(2 * pairs * share / 2), 1.0, 1e30).astype(np.float32)}



PER_LAYER: Names = {
    "embed_tokens_per_layer": To("per_layer_token_embd", rows=lambda c: c.count("vocab_size", 0)),
    "per_layer_model_projection": "per_layer_model_proj",
    "per_layer_projection_norm": "per_layer_proj_norm",
}
IN_LAYER: Names = {"per_layer_input_gate": "inp_gate", "per_layer_projection": "proj", "post_per_layer_input_norm": "post_norm"}
LATER: Keys = {
    **STANDARD,
    "feed_forward_length": widths,
    "final_logit_softcapping": CAPS["final_logit_softcapping"],
    "attention.sliding_window": "sliding_window",
    "attention.sliding_window_pattern": slides,
    "attention.shared_kv_layers": lambda c: c.count("num_kv_shared_layers", 0),
    "embedding_length_per_layer_input": lambda c: c.count("hidden_size_per_layer_input", 0),
}
ALTUP: Names = {
    "altup.correction_coefs": "altup_correct_coef",
    "altup.correct_output_scale": "altup_correct_scale.weight",
    "altup.prediction_coefs": "altup_predict_coef",
    "altup.modality_router": "altup_router",
    "altup.router_norm": "altup_router_norm",
    "laurel.linear_left": "laurel_l",
    "laurel.linear_right": "laurel_r",
    "laurel.post_laurel_norm": "laurel_post_norm",
}
OUTSIDE: Names = {
    **OUTER, "lm_head": None, "embed_tokens": To("token_embd", rows=lambda c: c.count("vocab_size", 0)), **PER_LAYER,
    "altup_projections.*": "altup_proj", "altup_unembed_projections.*": "altup_unembd_proj",
}  # fmt: skip
OF_3N: Keys = {
    **LATER,
    "altup.active_idx": "altup_active_idx",
    "altup.num_inputs": "altup_num_inputs",
    "activation_sparsity_scale": cutoffs,
}
OF_4: Keys = {
    **LATER,
    "attention.head_count_kv": kv_heads,
    "attention.key_length": lambda c: of_global(c, "head_dim"),
    "attention.value_length": lambda c: of_global(c, "head_dim"),
    "attention.key_length_swa": "head_dim",
    "attention.value_length_swa": "head_dim",
    "rope.dimension_count": lambda c: of_global(c, "head_dim"),
    "rope.dimension_count_swa": "head_dim",
    "expert_feed_forward_length": "expert_intermediate_size moe_intermediate_size",
}
EXPERTS: Names = {
    "layer_scalar": "layer_output_scale.weight",
    "router.proj": "ffn_gate_inp",
    "router.scale": "ffn_gate_inp.scale",
    "router.per_expert_scale": "ffn_down_exps.scale",
    "experts.gate_up_proj": "ffn_gate_up_exps.weight",
    "experts.down_proj": "ffn_down_exps.weight",
    "pre_feedforward_layernorm_2": "pre_ffw_norm_2",
    "post_feedforward_layernorm_1": "post_ffw_norm_1",
    "post_feedforward_layernorm_2": "post_ffw_norm_2",
}

FAMILIES = (
    Family("gemma", ("gemma",), {**STANDARD, **NO_BASE}, AROUND, with_value({**NORMS, **ATTENTION, **MLP}, one_more), defaults={"head_dim": 256}, activations=GELU),
    Family("gemma2", ("gemma2",), {**STANDARD, **NO_BASE, **CAPS}, AROUND, with_value({**SANDWICH, **ATTENTION, **MLP}, one_more), defaults={"head_dim": 256}, activations=GELU),
    Family(
        "gemma3", ("gemma3", "gemma3_text"),
        {**STANDARD, "final_logit_softcapping": CAPS["final_logit_softcapping"], "attention.sliding_window": window},
        KNOWN_TOKENS, with_value({**SANDWICH, **ATTENTION, **QK_NORMS, **MLP}, one_more),
        defaults={
            "max_position_embeddings": 131072, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0,
        },
        activations=GELU,
    ),
    Family("gemma3n", ("gemma3n", "gemma3n_text"), OF_3N, OUTSIDE, {**SANDWICH, **ATTENTION, **QK_NORMS, **MLP, **IN_LAYER, **ALTUP}, activations=GELU),
    Family("gemma4", ("gemma4", "gemma4_text"), OF_4, OUTSIDE, {**SANDWICH, **ATTENTION, **QK_NORMS, **MLP, **IN_LAYER, **EXPERTS}, made=proportional, activations=GELU),
)  # fmt: skip
