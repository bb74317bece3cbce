"""Llama and what shares its tensors: Mistral, Mixtral (arXiv:2302.13971, arXiv:2310.06825, arXiv:2401.04088)."""

from __future__ import annotations

from quant.convert.family import Family, Keys, Names
from quant.convert.keys import STANDARD
from quant.convert.names import MLP, NEIGHBOURS, NORMS, OUTER, experts

KEYS: Keys = {**STANDARD, "vocab_size": "vocab_size", "rope.dimension_count": lambda c: c.head_dim}
MIXTRAL: Names = experts("block_sparse_moe", gate="w1", up="w3", down="w2")

FAMILIES = (Family("llama", ("llama", "mistral", "mixtral"), KEYS, OUTER, {**NORMS, **NEIGHBOURS, **MLP, **MIXTRAL}),)
