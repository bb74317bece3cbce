"""State spaces beside attention: Granite 4 (huggingface.co/ibm-granite), in turns, and Falcon-H1 (arXiv:2507.22448), in each layer."""

from __future__ import annotations

import numpy as np

from quant.convert.config import Config
from quant.convert.families import granite
from quant.convert.families.mamba import LAYER2, groups
from quant.convert.family import Family, Keys, Move, Names, To
from quant.convert.keys import STANDARD
from quant.convert.moves import part
from quant.convert.names import ATTENTION, NEIGHBOURS, NORMS, OUTER

MIXER: Names = {name.replace("mixer.", "mamba."): to for name, to in LAYER2.items() if name.startswith("mixer.")}


def attends(c: Config) -> list[bool]:
    """Which layers attend."""
    return [kind in ("attention", "full_attention") for kind in c.items("layer_types layers_block_type", c.layers)]


def inner(c: Config) -> int:
    """Channels of the state."""
    return int(c.number("mamba_expand", 2) * c.count("hidden_size"))


def recurrent(c: Config) -> bool:
    """Whether there are state spaces at all."""
    return c.get("layer_types layers_block_type") is not None and not all(attends(c))


def routed(c: Config) -> bool:
    """Whether there are experts."""
    return c.count("num_local_experts", 0) > 0


def turns(c: Config) -> bool:
    """Whether there is a rope."""
    return c.get("position_embedding_type") == "rope"


SSM: Keys = {
    "ssm.conv_kernel": "mamba_d_conv",
    "ssm.state_size": "mamba_d_state",
    "ssm.group_count": groups,
    "ssm.inner_size": inner,
    "ssm.time_step_rank": "mamba_n_heads",
}
HYBRID: Keys = {
    **granite.KEYS,
    **SSM,
    "attention.head_count_kv": lambda c: [c.kv_heads if full else 0 for full in attends(c)],
    "rope.scaling.finetuned": turns,
    "context_length": lambda c: c.count("max_position_embeddings") if turns(c) else 1 << 20,
}
DENSE_KEYS: Keys = {"expert_count": lambda c: None, "expert_used_count": lambda c: None, "feed_forward_length": "shared_intermediate_size"}
DENSE: Names = {
    "shared_mlp.input_linear": (To("ffn_gate", part(0, 2)), To("ffn_up", part(1, 2))),
    "shared_mlp.output_linear": "ffn_down",
}
GRANITE: Names = {**NORMS, **NEIGHBOURS}
TYPES = ("granitemoehybrid",)


def times(*names: str, index: int | None = None) -> Move:
    """All numbers times those of config.json; index: which, of a list."""

    def value(x: np.ndarray, c: Config) -> np.ndarray:
        for name in names:
            x = x * np.float32(c.number(name, 1.0) if index is None else Config({"x": c.items(name, 2)[index]}).number("x"))
        return x

    return value


def times_by_part(x: np.ndarray, c: Config) -> np.ndarray:
    """Rows of z, x, B, C and dt, each kind times a number of its own."""
    factors, wide, narrow = c.items("ssm_multipliers", 5), c.count("mamba_d_ssm"), groups(c) * c.count("mamba_d_state")
    counts = (wide, wide, narrow, narrow, max(0, x.shape[0] - 2 * wide - 2 * narrow))
    each = np.concatenate([np.full(n, Config({"x": factor}).number("x"), np.float32) for n, factor in zip(counts, factors, strict=True)])
    return x * np.float32(c.number("ssm_in_multiplier", 1.0)) * each[:, None]


ATTN_IN, ATTN_OUT = times("attention_in_multiplier"), times("attention_out_multiplier")
FALCON: Names = {
    "input_layernorm": "attn_norm",
    **ATTENTION,
    "self_attn.q_proj": To("attn_q", value=ATTN_IN),
    "self_attn.k_proj": To("attn_k", value=times("key_multiplier", "attention_in_multiplier")),
    "self_attn.v_proj": To("attn_v", value=ATTN_IN),
    "self_attn.o_proj": To("attn_output", value=ATTN_OUT),
    **MIXER,
    "mamba.in_proj": To("ssm_in", value=times_by_part),
    "mamba.out_proj": To("ssm_out", value=times("ssm_out_multiplier")),
    "pre_ff_layernorm": To("ffn_norm", bare=True),
    "feed_forward.gate_proj": To("ffn_gate", value=times("mlp_multipliers", index=0)),
    "feed_forward.up_proj": "ffn_up",
    "feed_forward.down_proj": To("ffn_down", value=times("mlp_multipliers", index=1)),
}
FALCON_OUTER: Names = {
    "embed_tokens": To("token_embd", value=times("embedding_multiplier")),
    "final_layernorm": "output_norm",
    "lm_head": To("output", value=times("lm_head_multiplier")),
}
FALCON_KEYS: Keys = {**STANDARD, **SSM, "ssm.inner_size": "mamba_d_ssm", "vocab_size": "vocab_size"}

FAMILIES = (
    Family("granitehybrid", TYPES, HYBRID, OUTER, {**GRANITE, **granite.EXPERTS, **MIXER}, when=lambda c: recurrent(c) and routed(c)),
    Family("granitehybrid", TYPES, HYBRID | DENSE_KEYS, OUTER, {**GRANITE, **DENSE, **MIXER}, when=lambda c: recurrent(c) and not routed(c)),
    Family("granitemoe", TYPES, granite.KEYS, OUTER, {**GRANITE, **granite.EXPERTS}, when=lambda c: not recurrent(c) and routed(c)),
    Family("granite", TYPES, granite.KEYS | DENSE_KEYS | {"expert_shared_feed_forward_length": lambda c: None}, OUTER, {**GRANITE, **DENSE}, when=lambda c: not recurrent(c) and not routed(c)),
    Family("falcon-h1", ("falcon_h1",), FALCON_KEYS, FALCON_OUTER, FALCON),
)
