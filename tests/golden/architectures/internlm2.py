"""InternLM2: Llama's mathematics, with q, k and v taken apart by the converter, and q and k permuted.

transformers has no code for it; Llama's computes the same.
"""

from __future__ import annotations

from typing import Any

from dense import CONFIG, EMBD, HEADS, as_llama, metadata, shapes
from make import Case

WIDTH = EMBD // HEADS   # InternLM2 has no head_dim


def model() -> Any:
    """Llama with InternLM2's numbers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**CONFIG | {"head_dim": WIDTH}, rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}))


CASES = {
    "internlm2": Case(
        "internlm2",
        model,
        metadata(attention__key_length=None, attention__value_length=None, rope__freq_base=1000000.0),
        shapes(width=WIDTH),
        as_llama,
    ),
}
