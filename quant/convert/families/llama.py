"""Llama and what differs from it in little: Mistral, Mixtral (arXiv:2302.13971, arXiv:2310.06825, arXiv:2401.04088), Mistral 3, Arcee AFM,
InternLM2 (arXiv:2403.17297), MiniCPM (arXiv:2404.06395). The rope of all of them turns neighbours in GGUF.
"""

from __future__ import annotations

from operator import attrgetter

import numpy as np

from quant.convert import rope
from quant.convert.config import Config
from quant.convert.family import Family, Keys, Move, Names, To
from quant.convert.keys import STANDARD
from quant.convert.moves import neighbours
from quant.convert.names import MLP, NEIGHBOURS, NORMS, OUTER, experts


def window(c: Config) -> int | None:
    """The first Mistral's, which llama.cpp's converter leaves out."""
    width = c.count("sliding_window", 0)
    return width if 0 < width < c.count("max_position_embeddings", width) else None


KEYS: Keys = {**STANDARD, "vocab_size": "vocab_size", "rope.dimension_count": lambda c: c.head_dim, "attention.sliding_window": window}
LAYER: Names = {**NORMS, **NEIGHBOURS, **MLP}
MIXTRAL: Names = experts("block_sparse_moe", gate="w1", up="w3", down="w2")


def of_group(first: int, stop: int | None, turn: Move | None = None) -> Move:
    """Some kinds of rows of wqkv, which go by key/value head: its queries, its key, its value."""

    def move(x: np.ndarray, c: Config) -> np.ndarray:
        rows = x.reshape(c.kv_heads, c.heads // c.kv_heads + 2, c.head_dim, *x.shape[1:])[:, first:stop]
        rows = rows.reshape(-1, *x.shape[1:])
        return rows if turn is None else turn(rows, c)

    return move


INTERNLM2: Names = {
    "attention_norm": "attn_norm",
    "attention.wqkv": (
        To("attn_q", of_group(0, -2, neighbours(attrgetter("heads")))), To("attn_k", of_group(-2, -1, neighbours(attrgetter("kv_heads")))),
        To("attn_v", of_group(-1, None)),
    ),
    "attention.wo": "attn_output",
    "ffn_norm": "ffn_norm",
    "feed_forward.w1": "ffn_gate",
    "feed_forward.w3": "ffn_up",
    "feed_forward.w2": "ffn_down",
}  # fmt: skip
MISTRAL3: Keys = {
    **KEYS,
    "rope.scaling.yarn_log_multiplier": lambda c: rope.parameters(c).get("mscale_all_dim"),
    "attention.temperature_scale": lambda c: rope.parameters(c).get("llama_4_scaling_beta"),
}
MINICPM: Keys = {
    **STANDARD,
    "embedding_scale": "scale_emb",
    "residual_scale": lambda c: c.number("scale_depth") / max(1, c.layers) ** 0.5,
    "logit_scale": lambda c: c.count("hidden_size") / max(1, c.count("dim_model_base")),
}

FAMILIES = (
    Family("llama", ("llama", "mistral", "mixtral"), KEYS, OUTER, {**LAYER, **MIXTRAL}),
    Family("mistral3", ("mistral3", "ministral3"), MISTRAL3, OUTER, LAYER),
    Family("arcee", ("arcee",), KEYS, OUTER, LAYER, activations=("relu2",)),
    Family("minicpm", ("minicpm",), MINICPM, OUTER, LAYER),
    Family("internlm2", ("internlm2",), STANDARD, {"tok_embeddings": "token_embd", "norm": "output_norm", "output": "output"}, INTERNLM2),
)
