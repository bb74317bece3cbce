"""Llama 4 (huggingface.co/meta-llama): chunks of attention, layers without rope, experts in some layers."""

from __future__ import annotations

from quant.convert.config import Config
from quant.convert.family import Family, Keys, Names, To
from quant.convert.keys import STANDARD
from quant.convert.moves import half_of_columns, transposed
from quant.convert.names import ATTENTION, NORMS, OUTER, shared


def chunk(c: Config) -> int:
    """Width of the chunks, 0 where every layer sees everything."""
    kinds = c.get("layer_types")
    return 0 if isinstance(kinds, list) and set(map(str, kinds)) == {"full_attention"} else c.count("attention_chunk_size", 8192)


KEYS: Keys = {
    **STANDARD,
    "vocab_size": "vocab_size",
    "rope.dimension_count": lambda c: c.head_dim,
    "feed_forward_length": "intermediate_size_mlp",
    "expert_feed_forward_length": "intermediate_size",
    "interleave_moe_layer_step": "interleave_moe_layer_step",
    "attention.sliding_window": chunk,
    "attention.temperature_length": lambda c: c.count("floor_scale", 8192),
    "attention.temperature_scale": lambda c: c.number("attn_scale", 0.1) if c.get("attn_temperature_tuning") else 0.0,
}
LAYER: Names = {
    **NORMS,
    **ATTENTION,
    "feed_forward.gate_proj": "ffn_gate",
    "feed_forward.up_proj": "ffn_up",
    "feed_forward.down_proj": "ffn_down",
    "feed_forward.router": "ffn_gate_inp",
    "feed_forward.experts.gate_up_proj": (To("ffn_gate_exps.weight", half_of_columns(0), stack=True), To("ffn_up_exps.weight", half_of_columns(1), stack=True)),
    "feed_forward.experts.down_proj": To("ffn_down_exps.weight", transposed, stack=True),
    **shared("feed_forward.shared_expert"),
}

FAMILIES = (Family("llama4", ("llama4", "llama4_text"), KEYS, OUTER, LAYER),)
