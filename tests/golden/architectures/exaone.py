"""EXAONE 3.5: Llama's mathematics with Llama 3's rope scaling on halves, tied.

transformers has no code for it; Llama's computes the same.
"""

from __future__ import annotations

from typing import Any

from dense import CONFIG, EMBD, HEADS, llama3_divisors, metadata, plain, shapes
from make import Case

WIDTH = EMBD // HEADS
ROPE = {"rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}


def model() -> Any:
    """Llama with EXAONE's numbers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = CONFIG | {"head_dim": WIDTH, "tie_word_embeddings": True}
    return LlamaForCausalLM(LlamaConfig(**config, rope_parameters={"rope_type": "llama3", **ROPE}))


CASES = {
    "exaone": Case(
        "exaone",
        model,
        metadata(attention__key_length=None, attention__value_length=None, rope__dimension_count=WIDTH),
        {"rope_freqs.weight": (WIDTH // 2,), **shapes(width=WIDTH, tied=True)},
        plain,
        values={"rope_freqs.weight": llama3_divisors(WIDTH, ROPE["rope_theta"], ROPE["factor"], 1.0, 4.0, 64)},
    ),
}
