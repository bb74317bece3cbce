"""Decoders with q, k and v in one matrix: GPT-2, StarCoder, BLOOM, MPT, Falcon with one norm and with two, and GPT-NeoX with halves
side by side and one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from make import Case, Tensors, per_layer

VOCAB, EMBD, HEADS, LAYERS, CONTEXT = 96, 48, 6, 2, 128   # no power of two, for ALiBi's sake
WIDTH = EMBD // HEADS
AROUND = {"token_embd": "word_embeddings", "token_embd_norm": "word_embeddings_layernorm", "output_norm": "ln_f"}
OF_MEGATRON = {
    "attn_norm": "input_layernorm",
    "attn_qkv": "self_attention.query_key_value",
    "attn_output": "self_attention.dense",
    "ffn_norm": "post_attention_layernorm",
    "ffn_up": "mlp.dense_h_to_4h",
    "ffn_down": "mlp.dense_4h_to_h",
}
OF_GPT2 = {"attn_norm": "ln_1", "attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj", "ffn_norm": "ln_2", "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"}
OF_MPT = {"attn_norm": "norm_1", "attn_qkv": "attn.Wqkv", "attn_output": "attn.out_proj", "ffn_norm": "norm_2", "ffn_up": "ffn.up_proj", "ffn_down": "ffn.down_proj"}
OF_NEOX = OF_MEGATRON | {"attn_qkv": "attention.query_key_value", "attn_output": "attention.dense"}


def state(t: Tensors, model: str, blocks: str, around: dict[str, str], within: dict[str, str], groups: int = 0) -> Tensors:
    """Other names, and rows of qkv by group of heads (queries, key, value) where `groups` is not 0."""
    result = {}
    for name, value in t.items():
        stem, kind = name.rsplit(".", 1)
        if stem == "output":
            there = "lm_head"
        elif stem.startswith("blk."):
            _, layer, what = stem.split(".")
            there = f"{model}.{blocks}.{layer}.{within[what]}"
            value = by_group(value, groups) if what == "attn_qkv" and groups else value
        else:
            there = f"{model}.{around[stem]}"
        result[f"{there}.{kind}"] = value
    return result


def of_gpt2(t: Tensors, turned: bool = False) -> Tensors:
    """turned: matrices of the layers are [columns, rows]."""
    result = state(t, "transformer", "h", {"token_embd": "wte", "position_embd": "wpe", "output_norm": "ln_f"}, OF_GPT2)
    return {name: value.T if turned and name.startswith("transformer.h.") and value.ndim == 2 else value for name, value in result.items()}


def by_group(qkv: np.ndarray, groups: int) -> np.ndarray:
    """Rows of all queries, all keys, all values in the order of their groups."""
    heads = qkv.reshape(-1, WIDTH, *qkv.shape[1:])
    queries = heads[: -2 * groups].reshape(groups, -1, *heads.shape[1:])
    keys, values = heads[-2 * groups : -groups, None], heads[-groups:, None]
    return np.concatenate([queries, keys, values], axis=1).reshape(qkv.shape)


def case(
    architecture: str,
    model: Callable[[], Any],
    back: Callable[[Tensors], Tensors],
    more: dict[str, Any] | None = None,
    *,
    kv: int | None = HEADS,
    biases: tuple[str, ...] = ("_norm", "qkv", "attn_output", "ffn_up", "ffn_down"),
    without: tuple[str, ...] = (),
    extra: dict[str, tuple[int, ...]] | None = None,
) -> Case:
    """kv: None where the file does not say that there are as many as queries. biases: ends of the names of tensors that have one.
    extra: further tensors outside the layers, or "blk." within.
    """
    layer: dict[str, tuple[int, ...]] = {
        "attn_norm.weight": (EMBD,),
        "attn_qkv.weight": ((HEADS + 2 * (kv or HEADS)) * WIDTH, EMBD),
        "attn_output.weight": (EMBD, EMBD),
        "ffn_norm.weight": (EMBD,),
        "ffn_up.weight": (4 * EMBD, EMBD),
        "ffn_down.weight": (EMBD, 4 * EMBD),
    }
    extra = extra or {}
    layer = {name: shape for name, shape in layer.items() if name not in without} | {name[4:]: shape for name, shape in extra.items() if name.startswith("blk.")}
    layer |= {name.replace(".weight", ".bias"): shape[:1] for name, shape in layer.items() if name.removesuffix(".weight").endswith(biases)}
    outer = {"token_embd.weight": (VOCAB, EMBD), "output_norm.weight": (EMBD,), **{name: shape for name, shape in extra.items() if not name.startswith("blk.")}}
    if "_norm" in biases:
        outer |= {name.replace(".weight", ".bias"): shape for name, shape in outer.items() if name.endswith("norm.weight")}
    metadata = {
        "block_count": LAYERS,
        "context_length": CONTEXT,
        "embedding_length": EMBD,
        "feed_forward_length": 4 * EMBD,
        "attention.head_count": HEADS,
        **({"attention.head_count_kv": kv} if kv else {}),
        "attention.layer_norm_epsilon": 1e-5,
        **(more or {}),
    }
    return Case(architecture, model, metadata, {**outer, **per_layer(LAYERS, layer)}, back)


def made(name: str, ending: str = "ForCausalLM", **options: Any) -> Callable[[], Any]:
    """The model of a class of transformers, made when it is wanted."""

    def model() -> Any:
        import transformers

        config = getattr(transformers, f"{name}Config")(vocab_size=VOCAB, attn_implementation="eager", bos_token_id=1, eos_token_id=2, **options)
        return getattr(transformers, f"{name}{ending}")(config)

    return model


def neox(parallel: bool) -> Case:
    """With a rope over half of each head."""
    rope = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    sizes = {"hidden_size": EMBD, "intermediate_size": 4 * EMBD, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    return case(
        "gptneox",
        made("GPTNeoX", use_parallel_residual=parallel, rope_parameters=rope, **sizes),
        partial(state, model="gpt_neox", blocks="layers", around={"token_embd": "embed_in", "output_norm": "final_layer_norm"}, within=OF_NEOX, groups=HEADS),
        {"rope.dimension_count": WIDTH // 2, "use_parallel_residual": parallel},
        kv=None,
        extra={"output.weight": (VOCAB, EMBD)},
    )


CASES = {
    "gpt2": case(
        "gpt2",
        made("GPT2", "LMHeadModel", n_embd=EMBD, n_layer=LAYERS, n_head=HEADS, n_positions=CONTEXT),
        partial(of_gpt2, turned=True),
        kv=None,
        extra={"position_embd.weight": (CONTEXT, EMBD)},
    ),
    "starcoder": case(
        "starcoder",
        made("GPTBigCode", n_embd=EMBD, n_layer=LAYERS, n_head=HEADS, n_positions=CONTEXT),
        of_gpt2,
        kv=1,
        extra={"position_embd.weight": (CONTEXT, EMBD)},
    ),
    "bloom": case(
        "bloom",
        made("Bloom", hidden_size=EMBD, n_layer=LAYERS, n_head=HEADS),
        partial(state, model="transformer", blocks="h", around=AROUND, within=OF_MEGATRON, groups=HEADS),
        extra={"token_embd_norm.weight": (EMBD,)},
    ),
    "mpt": case(
        "mpt",
        made("Mpt", d_model=EMBD, n_layers=LAYERS, n_heads=HEADS, max_seq_len=CONTEXT, attn_config={"clip_qkv": 1.5}),
        partial(state, model="transformer", blocks="blocks", around={"token_embd": "wte", "output_norm": "norm_f"}, within=OF_MPT),
        {"attention.clamp_kqv": 1.5, "attention.max_alibi_bias": 8.0},
        biases=(),
    ),
    "falcon": case(
        "falcon",
        made("Falcon", hidden_size=EMBD, num_hidden_layers=LAYERS, num_attention_heads=HEADS),
        partial(state, model="transformer", blocks="h", around=AROUND, within=OF_MEGATRON, groups=1),
        {"tensor_data_layout": "jploski"},
        kv=1,
        biases=("_norm",),
        without=("ffn_norm.weight",),
    ),
    "falcon-40b": case(
        "falcon",
        made("Falcon", hidden_size=EMBD, num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_kv_heads=2, new_decoder_architecture=True),
        partial(state, model="transformer", blocks="h", around=AROUND, within=OF_MEGATRON | {"attn_norm": "ln_mlp", "attn_norm_2": "ln_attn"}, groups=2),
        {"tensor_data_layout": "jploski"},
        kv=2,
        biases=("_norm", "_norm_2"),
        without=("ffn_norm.weight",),
        extra={"blk.attn_norm_2.weight": (EMBD,)},
    ),
    "gptneox": neox(parallel=True),
    "gptneox-sequential": neox(parallel=False),
}
