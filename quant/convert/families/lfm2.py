"""LFM2 and its mixtures of experts (huggingface.co/LiquidAI): short convolutions, and attention in some layers."""

from __future__ import annotations

from quant.convert.config import Config
from quant.convert.family import Family, Keys, Names, To
from quant.convert.keys import STANDARD
from quant.convert.moves import without_middle
from quant.convert.names import ATTENTION, experts


def kv_heads(c: Config) -> list[int]:
    """Key/value heads of each layer, 0 for a convolution."""
    return [c.kv_heads if kind == "full_attention" else 0 for kind in c.items("layer_types", c.layers)]


def feed_forward(c: Config) -> int:
    """The width, which older configurations give before some arithmetic."""
    width = c.count("block_ff_dim intermediate_size")
    if not c.flag("block_auto_adjust_ff_dim"):
        return width
    step = max(1, c.count("block_multiple_of", 1))
    return -(-int(c.number("block_ffn_dim_multiplier", 1.0) * int(2 * width / 3)) // step) * step


KEYS: Keys = {**STANDARD, "attention.head_count_kv": kv_heads, "feed_forward_length": feed_forward, "vocab_size": "vocab_size", "shortconv.l_cache": "conv_L_cache"}
OUTER: Names = {"embed_tokens": "token_embd", "embedding_norm": "token_embd_norm", "lm_head": "output"}
LAYER: Names = {
    "operator_norm": "attn_norm",
    "conv.in_proj": "shortconv.in_proj",
    "conv.conv": To("shortconv.conv", without_middle),
    "conv.out_proj": "shortconv.out_proj",
    **ATTENTION,
    "self_attn.out_proj": "attn_output",
    "self_attn.q_layernorm": "attn_q_norm",
    "self_attn.k_layernorm": "attn_k_norm",
    "ffn_norm": "ffn_norm",
    "feed_forward.w1": "ffn_gate",
    "feed_forward.w3": "ffn_up",
    "feed_forward.w2": "ffn_down",
}
MOE_KEYS: Keys = KEYS | {
    "feed_forward_length": "intermediate_size",
    "expert_feed_forward_length": "moe_intermediate_size",
    "leading_dense_block_count": "num_dense_layers",
    "expert_gating_func": lambda c: 2,   # sigmoid
}

FAMILIES = (
    Family("lfm2", ("lfm2",), KEYS, OUTER, LAYER, defaults={"tie_word_embeddings": True}),
    Family(
        "lfm2moe", ("lfm2_moe",), MOE_KEYS, OUTER,
        {**LAYER, **experts("feed_forward", gate="w1", up="w3", down="w2"), "feed_forward.expert_bias": "exp_probs_b.bias"}, defaults={"tie_word_embeddings": True},
    ),
)  # fmt: skip
