"""What the parts of a transformer are called in most checkpoints, and in GGUF. Data only."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter

import numpy as np

from quant.convert.config import Config
from quant.convert.family import Move, Names, To
from quant.convert.moves import neighbours

OUTER: Names = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}
ATTENTION: Names = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
}
# Where the rope turns neighbours, and the checkpoint halves.
NEIGHBOURS: Names = ATTENTION | {"self_attn.q_proj": To("attn_q", neighbours(attrgetter("heads"))), "self_attn.k_proj": To("attn_k", neighbours(attrgetter("kv_heads")))}
QK_NORMS: Names = {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
POST_NORMS: Names = {"post_attention_layernorm": "post_attention_norm", "post_feedforward_layernorm": "post_ffw_norm"}   # of outputs
NORMS: Names = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
MLP: Names = {"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def experts(within: str = "mlp", router: str = "gate", gate: str = "gate_proj", up: str = "up_proj", down: str = "down_proj") -> Names:
    """A router and experts that are tensors of their own; gate, up, down: what their matrices are called."""
    here = f"{within}.experts.*"
    return {f"{within}.{router}": "ffn_gate_inp", f"{here}.{gate}": "ffn_gate_exps", f"{here}.{up}": "ffn_up_exps", f"{here}.{down}": "ffn_down_exps"}


def shared(within: str) -> Names:
    """An expert that every token goes through."""
    return {f"{within}.{name}_proj": f"ffn_{name}_shexp" for name in ("gate", "up", "down")}


def one_more(x: np.ndarray, c: Config) -> np.ndarray:
    """Of norms whose checkpoint holds what is added to 1."""
    return x + np.float32(1)


def with_value(names: Names, value: Move, ends: tuple[str, ...] = ("norm",)) -> Names:
    """`names` with other numbers in those tensors whose GGUF name ends so."""

    def changed(to: str | To) -> To:
        to = to if isinstance(to, To) else To(to)
        return replace(to, value=value) if to.name.endswith(ends) else to

    return {name: to if to is None or isinstance(to, tuple) else changed(to) for name, to in names.items()}
