"""Mamba, Falcon Mamba and Mamba 2 (arXiv:2312.00752, arXiv:2410.05355, arXiv:2405.21060)."""

from __future__ import annotations

import numpy as np

from quant.convert.config import Config
from quant.convert.family import Family, Keys, Names, To
from quant.convert.moves import column, without_middle

WIDTH = "hidden_size d_model dim"
OUTER: Names = {"embeddings": "token_embd", "embedding": "token_embd", "norm_f": "output_norm", "lm_head": "output"}


def decay(x: np.ndarray, c: Config) -> np.ndarray:
    """-exp(A_log)."""
    return -np.exp(x.astype(np.float64)).astype(np.float32)   # rounded once, on every machine the same


def inner(c: Config) -> int:
    """Channels of the state."""
    return c.count("mamba_d_ssm intermediate_size d_inner", 2 * c.count(WIDTH))


def groups(c: Config) -> int:
    """Groups of heads with the same B and C."""
    return max(1, c.count("n_groups mamba_n_groups", 1))


def by_group(x: np.ndarray, c: Config) -> np.ndarray:
    """The norm's weights, a row for each group."""
    return x.reshape(groups(c), x.shape[0] // groups(c))


COMMON: Keys = {
    "context_length": lambda c: 1 << 20,   # unbounded
    "embedding_length": WIDTH,
    "feed_forward_length": lambda c: 0,
    "attention.head_count": lambda c: 0,
    "block_count": "num_hidden_layers n_layers n_layer num_layers",
    "ssm.conv_kernel": lambda c: c.count("conv_kernel d_conv", 4),
    "ssm.inner_size": inner,
    "attention.layer_norm_rms_epsilon": lambda c: c.number("layer_norm_epsilon rms_norm_eps", 1e-5),
}
LAYER: Names = {
    "norm": "attn_norm",
    "mixer.in_proj": "ssm_in",
    "mixer.conv1d": To("ssm_conv1d", without_middle),
    "mixer.x_proj": "ssm_x",
    "mixer.dt_proj": "ssm_dt",
    "mixer.A_log": To("ssm_a", value=decay),
    "mixer.D": "ssm_d",
    "mixer.out_proj": "ssm_out",
}
LAYER2: Names = LAYER | {
    "mixer.dt_bias": "ssm_dt.bias",
    "mixer.A_log": To("ssm_a", column, decay),
    "mixer.D": To("ssm_d", column),
    "mixer.norm": To("ssm_norm", by_group),
}

FAMILIES = (
    Family(
        "mamba", ("mamba", "falcon_mamba"),
        {
            **COMMON,
            "ssm.state_size": lambda c: c.count("state_size d_state", 16),
            "ssm.time_step_rank": lambda c: c.count("time_step_rank dt_rank", -(-c.count(WIDTH) // 16)),
            "ssm.dt_b_c_rms": lambda c: c.get("model_type") == "falcon_mamba",
        },
        OUTER, LAYER,
    ),
    Family(
        "mamba2", ("mamba2",),
        {
            **COMMON,
            "ssm.state_size": lambda c: c.count("state_size d_state", 128),
            "ssm.time_step_rank": lambda c: inner(c) // max(1, c.count("head_dim mamba_d_head", 64)),
            "ssm.group_count": groups,
        },
        OUTER, LAYER2,
    ),
)  # fmt: skip
