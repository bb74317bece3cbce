"""Decoders of dense layers that differ from Llama in little: EXAONE 3 and 4, GLM-4, SmolLM3, Phi-3 and Phi-4, ERNIE 4.5, Seed-OSS, Hunyuan,
Apertus.
"""

from __future__ import annotations

import math

import numpy as np

from quant.convert import rope
from quant.convert.config import Config
from quant.convert.family import Family, Keys, Names, To
from quant.convert.keys import STANDARD
from quant.convert.names import ATTENTION, MLP, NEIGHBOURS, NORMS, OUTER, POST_NORMS, QK_NORMS


def sliding(c: Config) -> list[bool] | None:
    """Which layers slide, where config.json says it layer by layer."""
    return [kind == "sliding_attention" for kind in c.items("layer_types", c.layers)] if c.get("sliding_window") and c.get("layer_types") else None


def longrope_factor(c: Config) -> float | None:
    """What LongRoPE multiplies cos and sin by (arXiv:2402.13753)."""
    if rope.kind(c) not in ("longrope", "su"):
        return None
    given, before = rope.parameters(c).get("attention_factor"), rope.original_context(c)
    stretch = c.count("max_position_embeddings") / max(1, before)
    return rope.parameters(c).number("attention_factor") if given is not None else math.sqrt(1 + math.log(stretch) / math.log(before)) if stretch > 1 < before else 1.0


def in_halves(x: np.ndarray, c: Config) -> np.ndarray:
    """Rows of q or k that the rope turns, from neighbours to halves, where its frequencies are in sections (GLM-4V)."""
    if rope.sections(c) is None:
        return x
    rows, n = x.reshape(-1, c.head_dim, *x.shape[1:]), rope.turned(c, 0.5)
    return np.concatenate([rows[:, 0:n:2], rows[:, 1:n:2], rows[:, n:]], 1).reshape(x.shape)


SLIDING: Keys = {"attention.sliding_window": "sliding_window", "attention.sliding_window_pattern": sliding}
PHI3: Keys = {
    **STANDARD,
    "rope.scaling.type": lambda c: None,
    "rope.scaling.original_context_length": rope.original_context,
    "rope.scaling.attn_factor": longrope_factor,
    "rope.dimension_count": rope.turned,
    "attention.sliding_window": lambda c: c.count("sliding_window", 0),
}
GLM4: Names = {
    "input_layernorm": "attn_norm",
    **ATTENTION,
    "self_attn.q_proj": To("attn_q", in_halves),
    "self_attn.k_proj": To("attn_k", in_halves),
    "post_self_attn_layernorm": "post_attention_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_mlp_layernorm": "post_ffw_norm",
}
EXAONE: Names = {
    "ln_1": "attn_norm",
    "attn.attention.q_proj": "attn_q",
    "attn.attention.k_proj": "attn_k",
    "attn.attention.v_proj": "attn_v",
    "attn.attention.out_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc_0": "ffn_gate",
    "mlp.c_fc_1": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
FAR = 256 * 1024   # what Hunyuan's stretched base reaches; its config.json states less


def stretched(c: Config) -> bool:
    """Whether the base grows by alpha."""
    return rope.parameters(c).get("alpha") is not None


def base(c: Config) -> float | None:
    """The base of the frequencies, grown by alpha."""
    if not stretched(c) or c.head_dim <= 2:
        return rope.base(c)
    return rope.parameters(c).number("rope_theta", 10000.0) * rope.parameters(c).number("alpha") ** (c.head_dim / (c.head_dim - 2))


HUNYUAN: Keys = {
    **STANDARD,
    "context_length": lambda c: FAR if stretched(c) else c.count("max_position_embeddings"),
    "rope.freq_base": base,
    "rope.scaling.type": lambda c: "none" if stretched(c) else rope.scaling_type(c),
    "rope.scaling.factor": lambda c: 1.0 if stretched(c) else rope.parameters(c).get("factor"),
    "rope.scaling.original_context_length": lambda c: FAR if stretched(c) else None,
    "expert_count": lambda c: None,
    "expert_used_count": lambda c: None,
}
XIELU = {f"xielu.{name}": f"mlp.act_fn.{name}" for name in ("alpha_p", "alpha_n", "beta", "eps")}
APERTUS: Names = {
    "attention_layernorm": "attn_norm",
    "feedforward_layernorm": "ffn_norm",
    **ATTENTION,
    **QK_NORMS,
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    **dict.fromkeys(XIELU.values()),
}

FAMILIES = (
    Family("exaone4", ("exaone4",), {**STANDARD, "vocab_size": "vocab_size", **SLIDING}, OUTER, {**ATTENTION, **QK_NORMS, **POST_NORMS, **MLP}),
    Family("glm4", ("glm4", "glm4v"), {**STANDARD, "rope.dimension_count": lambda c: rope.turned(c, 0.5)}, OUTER, GLM4),
    Family(
        "smollm3", ("smollm3",), {**STANDARD, "vocab_size": "vocab_size", "rope.dimension_count": lambda c: c.head_dim}, OUTER, {**NORMS, **NEIGHBOURS, **MLP}
    ),
    Family("phi3", ("phi3",), PHI3, OUTER, {**NORMS, "self_attn.qkv_proj": "attn_qkv", "self_attn.o_proj": "attn_output", "mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}),
    Family("ernie4_5", ("ernie4_5",), STANDARD, OUTER, {**NORMS, **ATTENTION, **MLP}),
    Family("seed_oss", ("seed_oss",), STANDARD, OUTER, {"input_layernorm": "attn_norm", "post_attention_layernorm": "post_attention_norm", **ATTENTION, **MLP}),
    Family(
        "exaone", ("exaone",), {**STANDARD, "rope.dimension_count": rope.turned}, {"wte": "token_embd", "ln_f": "output_norm", "lm_head": "output"}, EXAONE, "h"
    ),
    Family(
        "hunyuan-dense", ("hunyuan_v1_dense",), HUNYUAN, OUTER,
        {**NORMS, **ATTENTION, "self_attn.query_layernorm": "attn_q_norm", "self_attn.key_layernorm": "attn_k_norm", **MLP},
    ),
    Family("apertus", ("apertus",), STANDARD, OUTER, APERTUS, scalars=XIELU, activations=("xielu",)),
)  # fmt: skip
