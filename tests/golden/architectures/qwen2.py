"""Qwen2.5 and Qwen3 over a context that YaRN stretched, as their model cards advise for long texts."""

from __future__ import annotations

from typing import Any

from dense import CONFIG, EMBD, HEADS, WIDTH, metadata, plain, shapes
from make import Case

NARROW = EMBD // HEADS   # Qwen2's heads have no width of their own
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}
KEYS = {"rope__scaling__type": "yarn", "rope__scaling__factor": 4.0, "rope__scaling__original_context_length": 32}


def qwen2() -> Any:
    """The checkpoint's own code."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(Qwen2Config(**CONFIG | {"head_dim": NARROW}, rope_parameters=YARN))


def qwen3() -> Any:
    """Its successor, which normalises q and k."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(Qwen3Config(**CONFIG | {"tie_word_embeddings": True}, rope_parameters=YARN))


CASES = {
    "qwen2-yarn": Case(
        "qwen2",
        qwen2,
        metadata(**KEYS, attention__key_length=None, attention__value_length=None),
        shapes(width=NARROW, biases=("attn_q", "attn_k", "attn_v")),
        plain,
    ),
    "qwen3-yarn": Case("qwen3", qwen3, metadata(**KEYS), shapes(tied=True, attn_q_norm=(WIDTH,), attn_k_norm=(WIDTH,)), plain),
}
