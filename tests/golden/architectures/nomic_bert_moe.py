"""Nomic Embed v2. transformers has its attention and norms (NomicBERT); feed-forward, experts and biases are written out here as in
the checkpoint's own code (huggingface.co/nomic-ai/nomic-bert-2048)."""

from __future__ import annotations

from typing import Any

from bert import EMBEDDINGS, ENCODER, FF, LAYERS, NORMS, SETTINGS, WIDTH, bert_state
from make import Case, Tensors

EXPERTS, USED = 5, 2
ATTENTION = {
    "attn_qkv.weight": (3 * WIDTH, WIDTH),
    "attn_qkv.bias": (3 * WIDTH,),
    "attn_output.weight": (WIDTH, WIDTH),
    "attn_output.bias": (WIDTH,),
    **NORMS,
}
DENSE = {"ffn_up.weight": (FF, WIDTH), "ffn_up.bias": (FF,), "ffn_down.weight": (WIDTH, FF), "ffn_down.bias": (WIDTH,)}
MIXED = {"ffn_gate_inp.weight": (EXPERTS, WIDTH), "ffn_up_exps.weight": (EXPERTS, FF, WIDTH), "ffn_down_exps.weight": (EXPERTS, WIDTH, FF)}
NAMES = {
    "attn_output": "self_attn.o_proj",
    "attn_output_norm": "post_attention_layernorm",
    "layer_output_norm": "post_mlp_layernorm",
    "ffn_up": "mlp.0",
    "ffn_down": "mlp.2",
    "ffn_gate_inp": "mlp.router",
}


def model() -> Any:
    """NomicBERT with the feed-forwards of the second version."""
    import torch
    from torch import nn
    from transformers import NomicBertConfig, NomicBertModel

    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.router = nn.Linear(WIDTH, EXPERTS, bias=False)
            self.up, self.down = nn.Parameter(torch.zeros(EXPERTS, FF, WIDTH)), nn.Parameter(torch.zeros(EXPERTS, WIDTH, FF))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weights, chosen = self.router(x).softmax(dim=-1).topk(USED, dim=-1)
            made = torch.einsum("bnef,ewf->bnew", nn.functional.gelu(torch.einsum("bnw,efw->bnef", x, self.up)), self.down)
            return torch.einsum("bnew,bne->bnw", made, torch.zeros(made.shape[:3], dtype=x.dtype).scatter(-1, chosen, weights))

    rope = {"rope_type": "default", "rope_theta": 1000.0}
    made = NomicBertModel(NomicBertConfig(max_position_embeddings=96, type_vocab_size=1, pad_token_id=0, rope_parameters=rope, **SETTINGS), add_pooling_layer=False)
    for i, layer in enumerate(made.layers):
        for name in "qkvo":
            setattr(layer.self_attn, f"{name}_proj", nn.Linear(WIDTH, WIDTH))
        layer.mlp = Mixture() if i % 2 else nn.Sequential(nn.Linear(WIDTH, FF), nn.GELU(), nn.Linear(FF, WIDTH))
    return made


def state(t: Tensors) -> Tensors:
    """Names, and q, k and v by themselves."""
    found = bert_state({name: value for name, value in t.items() if not name.startswith("blk.")})
    for i in range(LAYERS):
        for here, there in NAMES.items():
            found |= {f"layers.{i}.{there}.{kind}": t[key] for kind in ("weight", "bias") if (key := f"blk.{i}.{here}.{kind}") in t}
        found |= {f"layers.{i}.mlp.{name}": t[key] for name in ("up", "down") if (key := f"blk.{i}.ffn_{name}_exps.weight") in t}
        for part, name in enumerate("qkv"):
            rows = slice(part * WIDTH, (part + 1) * WIDTH)
            found |= {f"layers.{i}.self_attn.{name}_proj.{kind}": t[f"blk.{i}.attn_qkv.{kind}"][rows] for kind in ("weight", "bias")}
    return found


CASES = {
    "nomic-bert-experts": Case(
        "nomic-bert-moe",
        model,
        {
            **ENCODER,
            "rope.freq_base": 1000.0,
            "moe_every_n_layers": 2,
            "expert_count": EXPERTS,
            "expert_used_count": USED,
            "pooling_type": 1,
        },
        {
            **EMBEDDINGS,
            "token_types.weight": (1, WIDTH),
            **{f"blk.{i}.{name}": shape for i in range(LAYERS) for name, shape in (ATTENTION | (MIXED if i % 2 else DENSE)).items()},
        },
        state,
        spreads=[("*.ffn_gate_inp.weight", 0.0, 0.5)],
    ),
}
