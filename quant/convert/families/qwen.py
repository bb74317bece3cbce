"""Qwen2, Qwen3 and their mixtures of experts (arXiv:2407.10671, arXiv:2505.09388)."""

from __future__ import annotations

from quant.convert.config import labels
from quant.convert.family import Family, Keys, Names
from quant.convert.keys import STANDARD
from quant.convert.names import ATTENTION, MLP, NORMS, OUTER, QK_NORMS, experts, shared

KEYS: Keys = {**STANDARD, "pooling_type": lambda c: c.pooling}
EXPERT_KEYS: Keys = {**STANDARD, "expert_feed_forward_length": "moe_intermediate_size", "expert_shared_feed_forward_length": "shared_expert_intermediate_size"}
SHARED: Names = {**shared("mlp.shared_expert"), "mlp.shared_expert_gate": "ffn_gate_inp_shexp"}
DENSE3: Names = {**NORMS, **ATTENTION, **QK_NORMS, **MLP}
RANKED: Keys = {**STANDARD, "pooling_type": lambda c: 4, "classifier.output_labels": labels}

FAMILIES = (
    Family("qwen2", ("qwen2",), KEYS, OUTER, {**NORMS, **ATTENTION, **MLP}),
    Family("qwen3", ("qwen3",), KEYS, OUTER, DENSE3),
    Family("qwen3", ("qwen3",), RANKED, {**OUTER, "lm_head": None, "score": "cls.output"}, DENSE3, classes=("Qwen3ForSequenceClassification",)),
    Family("qwen2moe", ("qwen2_moe",), EXPERT_KEYS, OUTER, {**NORMS, **ATTENTION, **experts(), **MLP, **SHARED}),
    Family("qwen3moe", ("qwen3_moe",), EXPERT_KEYS, OUTER, {**NORMS, **ATTENTION, **QK_NORMS, **experts(), **MLP}),
)
