"""Command R and Command R7B (huggingface.co/CohereLabs): attention and feed-forward side by side behind one norm."""

from __future__ import annotations

from quant.convert import rope
from quant.convert.family import Family, Keys, Names
from quant.convert.keys import STANDARD
from quant.convert.names import ATTENTION, MLP, OUTER, QK_NORMS

KEYS: Keys = {**STANDARD, "logit_scale": "logit_scale", "rope.scaling.type": lambda c: "none", "attention.key_length": lambda c: None, "attention.value_length": lambda c: None}
LAYER: Names = {"input_layernorm": "attn_norm", **ATTENTION, **QK_NORMS, **MLP}

FAMILIES = (
    Family("command-r", ("cohere",), {**KEYS, "context_length": "model_max_length max_position_embeddings"}, OUTER, LAYER, defaults={"logit_scale": 0.0625, "tie_word_embeddings": True}),
    Family(
        "cohere2", ("cohere2",),
        {**KEYS, "attention.sliding_window": "sliding_window", "vocab_size": "vocab_size", "rope.dimension_count": rope.turned}, OUTER, LAYER,
        defaults={"logit_scale": 0.0625, "tie_word_embeddings": True},
    ),
)  # fmt: skip
