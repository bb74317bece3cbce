"""ERNIE 4.5: the rope turns neighbours of q and k as they are; tied."""

from __future__ import annotations

from typing import Any

from dense import CONFIG, metadata, plain, shapes
from make import Case


def model() -> Any:
    """The checkpoint's own code."""
    from transformers import Ernie4_5Config, Ernie4_5ForCausalLM

    rope = {"rope_type": "default", "rope_theta": 500000.0}
    return Ernie4_5ForCausalLM(Ernie4_5Config(**CONFIG | {"tie_word_embeddings": True}, rope_parameters=rope))


CASES = {
    "ernie4_5": Case(
        "ernie4_5",
        model,
        metadata(rope__freq_base=500000.0),
        shapes(tied=True),
        plain,
    ),
}
