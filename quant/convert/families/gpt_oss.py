"""gpt-oss (arXiv:2508.10925): experts in stacks, gate and up row by row in turn; sinks of attention."""

from __future__ import annotations

import numpy as np

from quant.convert.config import Config
from quant.convert.family import Family, Keys, Move, Names, To
from quant.convert.keys import STANDARD
from quant.convert.moves import as_it_is, every, transposed
from quant.convert.names import ATTENTION, OUTER

KEYS: Keys = {**STANDARD, "attention.sliding_window": "sliding_window", "expert_feed_forward_length": "intermediate_size"}


def of_bias(first: int) -> Move:
    """Every second of the biases of each expert."""

    def move(x: np.ndarray, c: Config) -> np.ndarray:
        return x[:, first::2]

    return move


LAYER: Names = {
    "input_layernorm": "attn_norm",
    **ATTENTION,
    "self_attn.sinks": "attn_sinks.weight",
    "post_attention_layernorm": "post_attention_norm",
    "mlp.router": "ffn_gate_inp",
    "mlp.experts.gate_up_proj": (To("ffn_gate_exps.weight", every(0, 2, turn=True), stack=True), To("ffn_up_exps.weight", every(1, 2, turn=True), stack=True)),
    "mlp.experts.gate_up_proj_bias": (To("ffn_gate_exps.bias", of_bias(0)), To("ffn_up_exps.bias", of_bias(1))),
    "mlp.experts.down_proj": To("ffn_down_exps.weight", transposed, stack=True),
    "mlp.experts.down_proj_bias": "ffn_down_exps.bias",
    # As published, in MXFP4: rows are not columns there.
    "mlp.experts.gate_up_proj_blocks": (To("ffn_gate_exps.weight", every(0, 2), stack=True), To("ffn_up_exps.weight", every(1, 2), stack=True)),
    "mlp.experts.down_proj_blocks": To("ffn_down_exps.weight", as_it_is, stack=True),
}

FAMILIES = (Family("gpt-oss", ("gpt_oss",), KEYS, OUTER, LAYER, defaults={"num_local_experts": 32, "num_experts_per_tok": 4}),)
