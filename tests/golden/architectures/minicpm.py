"""MiniCPM: scaled embeddings, residuals and logits, LongRoPE.

transformers has no code for it; Granite's computes the same, whose multipliers are these scales.
"""

from __future__ import annotations

from typing import Any

from dense import CONFIG, EMBD, HEADS, as_llama, metadata, shapes
from make import Case

WIDTH = EMBD // HEADS   # MiniCPM has no head_dim
SHORT, LONG = [1.0, 1.1, 1.25, 1.5, 1.75, 2.0], [1.0, 1.5, 2.5, 4.0, 7.0, 12.0]
CONTEXT = 64   # the longest sequence is longer: the file does not state from where on to use the long factors


def model() -> Any:
    """Granite with MiniCPM's numbers."""
    from transformers import GraniteConfig, GraniteForCausalLM

    config = CONFIG | {"head_dim": WIDTH, "max_position_embeddings": CONTEXT, "tie_word_embeddings": True}
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": SHORT, "long_factor": LONG, "original_max_position_embeddings": CONTEXT}
    scales = {"embedding_multiplier": 12.0, "residual_multiplier": 1.4 / 2**0.5, "attention_multiplier": WIDTH**-0.5, "logits_scaling": 1.5}
    return GraniteForCausalLM(GraniteConfig(**config, **scales, rope_parameters=rope))


CASES = {
    "minicpm": Case(
        "minicpm",
        model,
        metadata(
            context_length=CONTEXT,
            attention__key_length=None,
            attention__value_length=None,
            embedding_scale=12.0,
            residual_scale=1.4 / 2**0.5,
            logit_scale=1.5,
            rope__scaling__type="longrope",
        ),
        {
            "rope_factors_long.weight": (WIDTH // 2,),
            "rope_factors_short.weight": (WIDTH // 2,),
            **shapes(width=WIDTH, tied=True),
        },
        as_llama,
        values={"rope_factors_long.weight": LONG, "rope_factors_short.weight": SHORT},
    ),
}
