"""Decoders with layer norms: Phi-2, StableLM, StarCoder2 (arXiv:2402.19173), Nemotron (arXiv:2402.16819)."""

from __future__ import annotations

from quant.convert import rope
from quant.convert.family import Family, Keys, Names
from quant.convert.keys import STANDARD
from quant.convert.names import ATTENTION, MLP, NORMS, OUTER, one_more, with_value

UNUSUAL: Keys = {**STANDARD, "rope.freq_base": rope.unusual_base}
OWN_NORMS: Names = {"self_attn.q_layernorm.norms.*": "attn_q_norm", "self_attn.k_layernorm.norms.*": "attn_k_norm"}

FAMILIES = (
    Family(
        "phi2", ("phi",), {**UNUSUAL, "rope.dimension_count": lambda c: rope.turned(c, 0.5)}, {**OUTER, "final_layernorm": "output_norm"},
        {"input_layernorm": "attn_norm", **ATTENTION, "self_attn.dense": "attn_output", "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down"}, activations=("gelu",),
    ),
    Family(
        "stablelm", ("stablelm", "stablelm_epoch"),
        {**UNUSUAL, "rope.dimension_count": lambda c: rope.turned(c, c.number("rope_pct", 0.25)), "use_parallel_residual": lambda c: c.flag("use_parallel_residual")},
        OUTER, {**NORMS, **ATTENTION, **OWN_NORMS, **MLP}, defaults={"layer_norm_eps": 1e-5},
    ),
    Family(
        "starcoder2", ("starcoder2",), STANDARD, OUTER, {**NORMS, **ATTENTION, "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"},
        defaults={"norm_epsilon": 1e-5, "tie_word_embeddings": True}, activations=("gelu",),
    ),
    Family(
        "nemotron", ("nemotron",),
        {
            **STANDARD, "vocab_size": "vocab_size", "attention.layer_norm_rms_epsilon": lambda c: None, "attention.layer_norm_epsilon": "norm_eps",
            "rope.dimension_count": lambda c: rope.turned(c, 0.5), "rope.scaling.type": lambda c: rope.scaling_type(c) or "none",
        },
        with_value(OUTER, one_more), with_value({**NORMS, **ATTENTION, **MLP}, one_more), defaults={"norm_eps": 1e-5}, activations=("relu2",),
    ),
)  # fmt: skip
