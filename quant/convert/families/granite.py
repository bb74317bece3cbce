"""Granite and its mixtures of experts (huggingface.co/ibm-granite): Llama with multipliers."""

from __future__ import annotations

from quant.convert.family import Family, Keys, Names, To
from quant.convert.keys import STANDARD
from quant.convert.moves import part
from quant.convert.names import MLP, NEIGHBOURS, NORMS, OUTER

KEYS: Keys = {
    **STANDARD,
    "vocab_size": "vocab_size",
    "rope.dimension_count": lambda c: c.head_dim,
    "attention.key_length": lambda c: None,
    "attention.value_length": lambda c: None,
    "attention.scale": "attention_multiplier",
    "embedding_scale": "embedding_multiplier",
    "residual_scale": "residual_multiplier",
    "logit_scale": "logits_scaling",
    "expert_shared_feed_forward_length": "shared_intermediate_size",
}
EXPERTS: Names = {
    "block_sparse_moe.router.layer": "ffn_gate_inp",
    "block_sparse_moe.input_linear": (To("ffn_gate_exps", part(0, 2), stack=True), To("ffn_up_exps", part(1, 2), stack=True)),
    "block_sparse_moe.output_linear": "ffn_down_exps",
    "shared_mlp.input_linear": (To("ffn_gate_shexp", part(0, 2)), To("ffn_up_shexp", part(1, 2))),
    "shared_mlp.output_linear": "ffn_down_shexp",
}

FAMILIES = (
    Family("granite", ("granite",), KEYS, OUTER, {**NORMS, **NEIGHBOURS, **MLP}),
    Family("granitemoe", ("granitemoe", "granitemoeshared"), KEYS, OUTER, {**NORMS, **NEIGHBOURS, **EXPERTS}),
)
