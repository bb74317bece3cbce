"""Decoders with q, k and v in one matrix: GPT-2, StarCoder (arXiv:2305.06161), MPT, BLOOM (arXiv:2211.05100), Falcon (arXiv:2311.16867),
GPT-NeoX (arXiv:2204.06745).
"""

from __future__ import annotations

from operator import attrgetter

from quant.convert import rope
from quant.convert.config import Config
from quant.convert.family import Family, Keys, Names, To
from quant.convert.keys import STANDARD
from quant.convert.moves import by_kind, transposed

GELU = ("gelu",)
WIDTH = "hidden_size n_embd n_embed d_model"
AROUND: Names = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm", "norm_f": "output_norm", "lm_head": "output"}
GPT2 = {"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
MPT: Names = {
    "norm_1": "attn_norm", "attn.Wqkv": "attn_qkv", "attn.out_proj": "attn_output", "attn.q_ln": "attn_q_norm", "attn.k_ln": "attn_k_norm",
    "norm_2": "ffn_norm", "ffn.up_proj": "ffn_up", "ffn.down_proj": "ffn_down",
}  # fmt: skip
MEGATRON: Names = {
    "input_layernorm": "attn_norm",
    "self_attention.query_key_value": To("attn_qkv", by_kind(attrgetter("heads"))),
    "self_attention.dense": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.dense_h_to_4h": "ffn_up",
    "mlp.dense_4h_to_h": "ffn_down",
}


def groups(c: Config) -> int:
    """Key/value heads of a Falcon."""
    if c.flag("multi_query", True) and not c.flag("new_decoder_architecture"):
        return 1
    return max(1, c.count("num_kv_heads n_head_kv", c.heads))


def four_times(c: Config) -> int:
    """The usual width of the feed-forward, unless config.json gives another."""
    return c.count("n_inner ffn_hidden_size", 4 * c.count(WIDTH))


PLAIN: Keys = {
    "block_count": STANDARD["block_count"], "context_length": STANDARD["context_length"], "embedding_length": WIDTH, "feed_forward_length": four_times,
    "attention.head_count": STANDARD["attention.head_count"], "attention.layer_norm_epsilon": "layer_norm_epsilon",
}  # fmt: skip
TURNED: Names = {name: To(to, transposed) if "c_" in name else to for name, to in GPT2.items()}

FAMILIES = (
    Family("gpt2", ("gpt2",), PLAIN, AROUND, TURNED, "h", activations=GELU),
    Family("starcoder", ("gpt_bigcode",), PLAIN | {"attention.head_count_kv": lambda c: 1}, AROUND, {**GPT2}, "h", activations=GELU),
    Family(
        "mpt", ("mpt",),
        PLAIN | {
            "context_length": "max_seq_len",
            "feed_forward_length": lambda c: int(c.number("expansion_ratio", 4) * c.count(WIDTH)),
            "attention.head_count_kv": lambda c: c.section("attn_config").get("kv_n_heads"),
            "attention.layer_norm_epsilon": lambda c: c.number("layer_norm_epsilon", 1e-5),
            "attention.clamp_kqv": lambda c: c.section("attn_config").get("clip_qkv"),
            "attention.max_alibi_bias": lambda c: c.section("attn_config").number("alibi_bias_max", 8.0) if c.section("attn_config").flag("alibi", True) else 0.0,
        },
        AROUND, MPT, "blocks", activations=GELU,
    ),
    Family(
        "bloom", ("bloom",), PLAIN | {"context_length": lambda c: c.count("seq_length", 2048), "attention.head_count_kv": attrgetter("heads")},
        {"word_embeddings": "token_embd", "word_embeddings_layernorm": "token_embd_norm", **AROUND}, MEGATRON, "h", activations=GELU,
    ),
    Family(
        "falcon", ("falcon", "RefinedWeb", "RefinedWebModel"),
        PLAIN | {
            "context_length": lambda c: max(2048, c.count("max_position_embeddings", 2048)),
            "tensor_data_layout": lambda c: "jploski",
            "attention.head_count_kv": groups,
            "rope.freq_base": rope.unusual_base,
        },
        {"word_embeddings": "token_embd", **AROUND},
        MEGATRON | {"self_attention.query_key_value": To("attn_qkv", by_kind(groups)), "ln_mlp": "attn_norm", "ln_attn": "attn_norm_2"}, "h",
        defaults={"layer_norm_epsilon": 1e-5}, activations=GELU,
    ),
    Family(
        "gptneox", ("gpt_neox",),
        PLAIN | {
            "feed_forward_length": "intermediate_size",
            "rope.dimension_count": lambda c: rope.turned(c, 0.25),
            "rope.freq_base": rope.unusual_base,
            "use_parallel_residual": lambda c: c.flag("use_parallel_residual", True),
            "attention.layer_norm_epsilon": "layer_norm_eps",
        },
        {"embed_in": "token_embd", "final_layer_norm": "output_norm", "embed_out": "output"},
        {name.replace("self_attention", "attention"): to for name, to in MEGATRON.items()}, activations=GELU,
    ),
)  # fmt: skip
