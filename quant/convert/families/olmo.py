"""OLMo 2, OLMo 3 (arXiv:2501.00656, allenai.org/olmo) and OLMoE (arXiv:2409.02060): norms of outputs, and over the whole of q and k."""

from __future__ import annotations

from quant.convert.families.dense import SLIDING
from quant.convert.family import Family, Names
from quant.convert.keys import STANDARD
from quant.convert.names import ATTENTION, MLP, NORMS, OUTER, POST_NORMS, QK_NORMS, experts

LAYER: Names = {**ATTENTION, **QK_NORMS, **POST_NORMS, **MLP}

FAMILIES = (
    Family("olmo2", ("olmo2",), STANDARD, OUTER, LAYER),
    Family("olmo2", ("olmo3",), STANDARD | SLIDING | {"attention.key_length": lambda c: None, "attention.value_length": lambda c: None}, OUTER, LAYER),
    Family("olmoe", ("olmoe",), STANDARD | {"attention.clamp_kqv": "clip_qkv"}, OUTER, {**NORMS, **ATTENTION, **QK_NORMS, **experts()}),
)
