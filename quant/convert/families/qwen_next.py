"""Qwen3-Next and Qwen3.5 (huggingface.co/Qwen): gated delta nets (arXiv:2412.06464) beside gated attention."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgerun.errors import Unsupported
from quant.convert import rope
from quant.convert.config import Config
from quant.convert.families.mamba import decay
from quant.convert.family import Family, Keys, Move, Names, To
from quant.convert.keys import STANDARD
from quant.convert.moves import without_middle
from quant.convert.names import ATTENTION, MLP, OUTER, QK_NORMS, experts, one_more, shared, with_value

KEY_HEADS, VALUE_HEADS, KEY, VALUE = "linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim"


def rows_of(first: int, stop: int) -> Move:
    """Some kinds of rows of in_proj_qkvz, which go by key head: its query, its key, its values, their gates."""

    def move(x: np.ndarray, c: Config) -> np.ndarray:
        heads, key = c.count(KEY_HEADS), c.count(KEY)
        values = c.count(VALUE_HEADS) // heads * c.count(VALUE)
        ends = np.cumsum([0, key, key, values, values])
        by_head = x.reshape(heads, x.shape[0] // heads, *x.shape[1:])
        return np.concatenate([by_head[:, ends[i] : ends[i + 1]].reshape(-1, *x.shape[1:]) for i in range(first, stop)])

    return move


def interval(c: Config) -> int:
    """Which layers attend: every so many. Unsupported for any other order."""
    given = c.count("full_attention_interval", 0) or next((i + 1 for i, net in enumerate(recurrent(c)) if not net), 4)
    if recurrent(c) != [(i + 1) % given != 0 for i in range(c.layers)]:
        raise Unsupported(f"config.json: layer_types is not one full_attention layer in {given}, which no key of the file can say")
    return given


def recurrent(c: Config) -> list[bool]:
    """Which layers are delta nets."""
    if c.get("layer_types"):
        return [kind == "linear_attention" for kind in c.items("layer_types", c.layers)]
    return [(i + 1) % max(1, c.count("full_attention_interval", 4)) != 0 for i in range(c.layers)]


KEYS: Keys = {
    **STANDARD,
    "ssm.conv_kernel": "linear_conv_kernel_dim",
    "ssm.state_size": KEY,
    "ssm.group_count": KEY_HEADS,
    "ssm.time_step_rank": VALUE_HEADS,
    "ssm.inner_size": lambda c: c.count(VALUE) * c.count(VALUE_HEADS),
    "full_attention_interval": interval,
    "rope.dimension_count": lambda c: rope.turned(c, 0.25),
}
EXPERTS: Keys = {"expert_feed_forward_length": "moe_intermediate_size", "expert_shared_feed_forward_length": "shared_expert_intermediate_size"}
NORMS: Names = {"input_layernorm": "attn_norm", "post_attention_layernorm": "post_attention_norm"}
NET: Names = {
    "linear_attn.A_log": To("ssm_a", value=decay),
    "linear_attn.dt_bias": "ssm_dt.bias",
    "linear_attn.conv1d": To("ssm_conv1d", without_middle),
    "linear_attn.in_proj_qkvz": (To("attn_qkv", rows_of(0, 3)), To("attn_gate", rows_of(3, 4))),
    "linear_attn.in_proj_ba": "ssm_ba",
    "linear_attn.out_proj": "ssm_out",
}
FEED: Names = {**experts(), **shared("mlp.shared_expert"), "mlp.shared_expert_gate": "ffn_gate_inp_shexp", **MLP}
AROUND: Names = with_value(OUTER, one_more)


def tiled(width: Callable[[Config], int], after: Callable[[Config], int] = lambda c: 0, columns: bool = False) -> Move:
    """Value heads, which go by key head, in turns: the first of each key head, then the second. width: numbers of a head; after: rows before them."""

    def move(x: np.ndarray, c: Config) -> np.ndarray:
        x = without_middle(x, c).T if columns else without_middle(x, c)
        keys, skipped = c.count(KEY_HEADS), after(c)
        heads = x[skipped:].reshape(keys, c.count(VALUE_HEADS) // keys, width(c), *x.shape[1:]).swapaxes(0, 1)
        result = heads.reshape(-1, *x.shape[1:])
        result = np.concatenate([x[:skipped], result]) if skipped else result
        return result.T if columns else result

    return move


def _one(c: Config) -> int:
    return 1


def _value(c: Config) -> int:
    return c.count(VALUE)


def _queries_and_keys(c: Config) -> int:
    return 2 * c.count(KEY_HEADS) * c.count(KEY)


NET35: Names = {
    "linear_attn.A_log": To("ssm_a", tiled(_one), decay),
    "linear_attn.dt_bias": To("ssm_dt.bias", tiled(_one)),
    "linear_attn.conv1d": To("ssm_conv1d", tiled(_value, _queries_and_keys)),
    "linear_attn.in_proj_qkv": To("attn_qkv", tiled(_value, _queries_and_keys)),
    "linear_attn.in_proj_z": To("attn_gate", tiled(_value)),
    "linear_attn.in_proj_a": To("ssm_alpha", tiled(_one)),
    "linear_attn.in_proj_b": To("ssm_beta", tiled(_one)),
    "linear_attn.out_proj": To("ssm_out", tiled(_value, columns=True)),
}
PLAIN_NORM: Names = {"linear_attn.norm": "ssm_norm"}   # this one holds the whole weight
GATED: Names = {**NORMS, **ATTENTION, **QK_NORMS}
KEYS35: Keys = KEYS | {"rope.dimension_sections": lambda c: rope.sections(c) or [11, 11, 10, 0]}

FAMILIES = (
    Family("qwen3next", ("qwen3_next",), KEYS | EXPERTS | {"attention.recurrent_layers": recurrent}, AROUND, {**with_value({**GATED, **NET, **FEED}, one_more), **PLAIN_NORM}),
    Family("qwen35", ("qwen3_5", "qwen3_5_text"), KEYS35, AROUND, {**with_value({**GATED, **NET35, **MLP}, one_more), **PLAIN_NORM}),
    Family("qwen35moe", ("qwen3_5_moe", "qwen3_5_moe_text"), KEYS35 | EXPERTS, AROUND, {**with_value({**GATED, **NET35, **FEED}, one_more), **PLAIN_NORM}),
)
