"""Arcee AFM: squared ReLU without a gate, YaRN with ends of its own."""

from __future__ import annotations

from typing import Any

from dense import CONFIG, WIDTH, as_llama, metadata, shapes
from make import Case


def model() -> Any:
    """The checkpoint's own code."""
    from transformers import ArceeConfig, ArceeForCausalLM

    rope = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 2.0, "beta_slow": 0.25}
    return ArceeForCausalLM(ArceeConfig(**CONFIG, rope_parameters=rope))


CASES = {
    "arcee": Case(
        "arcee",
        model,
        metadata(
            rope__dimension_count=WIDTH,
            rope__scaling__type="yarn",
            rope__scaling__factor=4.0,
            rope__scaling__original_context_length=64,
            rope__scaling__yarn_beta_fast=2.0,
            rope__scaling__yarn_beta_slow=0.25,
        ),
        shapes(without=("ffn_gate",)),
        as_llama,
    ),
}
