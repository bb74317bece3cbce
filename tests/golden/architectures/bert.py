"""Encoders, whose golden rows are hidden rows: BERT, RoBERTa with a classifier on every row, Nomic BERT."""

from __future__ import annotations

from typing import Any

from make import Case, Tensors, per_layer

LAYERS, HEADS, WIDTH, FF, VOCAB, CONTEXT, LABELS = 2, 4, 32, 48, 96, 96, 3
ENCODER = {
    "block_count": LAYERS,
    "context_length": CONTEXT,
    "embedding_length": WIDTH,
    "feed_forward_length": FF,
    "attention.head_count": HEADS,
    "attention.layer_norm_epsilon": 1e-5,
    "attention.causal": False,
}
NORMS = {f"{name}.{kind}": (WIDTH,) for name in ("attn_output_norm", "layer_output_norm") for kind in ("weight", "bias")}
MATRICES = {
    "attn_q": ("attention.self.query", (WIDTH, WIDTH)),
    "attn_k": ("attention.self.key", (WIDTH, WIDTH)),
    "attn_v": ("attention.self.value", (WIDTH, WIDTH)),
    "attn_output": ("attention.output.dense", (WIDTH, WIDTH)),
    "attn_output_norm": ("attention.output.LayerNorm", (WIDTH,)),
    "ffn_up": ("intermediate.dense", (FF, WIDTH)),
    "ffn_down": ("output.dense", (WIDTH, FF)),
    "layer_output_norm": ("output.LayerNorm", (WIDTH,)),
}
EMBEDDINGS = {"token_embd.weight": (VOCAB, WIDTH), "token_embd_norm.weight": (WIDTH,), "token_embd_norm.bias": (WIDTH,)}
SHAPES = {
    **EMBEDDINGS,
    "position_embd.weight": (CONTEXT, WIDTH),
    "token_types.weight": (2, WIDTH),
    **per_layer(LAYERS, {f"{name}.{kind}": shape if kind == "weight" else shape[:1] for name, (_, shape) in MATRICES.items() for kind in ("weight", "bias")}),
}
SETTINGS = {
    "vocab_size": VOCAB,
    "hidden_size": WIDTH,
    "intermediate_size": FF,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "layer_norm_eps": 1e-5,
    "attn_implementation": "eager",
}


def bert() -> Any:
    """BERT without its pooler."""
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(max_position_embeddings=CONTEXT, type_vocab_size=2, pad_token_id=None, **SETTINGS), add_pooling_layer=False)


def roberta() -> Any:
    """RoBERTa, whose classification head reads every row instead of the first."""
    import torch
    from transformers import RobertaConfig, RobertaForSequenceClassification

    class EveryRow(RobertaForSequenceClassification):
        def forward(self, input_ids: torch.Tensor, **more: Any) -> Any:
            places = 2 + torch.arange(input_ids.shape[1])[None]   # as if no token were padding
            hidden = self.roberta(input_ids, position_ids=places).last_hidden_state
            return type("Output", (), {"logits": self.classifier(hidden.transpose(0, 1))[None]})

    return EveryRow(RobertaConfig(max_position_embeddings=CONTEXT + 2, type_vocab_size=1, pad_token_id=1, num_labels=LABELS, **SETTINGS))


def nomic_bert() -> Any:
    """Nomic Embed."""
    from transformers import NomicBertConfig, NomicBertModel

    rope = {"rope_type": "default", "rope_theta": 1000.0}
    return NomicBertModel(NomicBertConfig(max_position_embeddings=CONTEXT, type_vocab_size=2, pad_token_id=0, rope_parameters=rope, **SETTINGS), add_pooling_layer=False)


def bert_state(t: Tensors, model: str = "") -> Tensors:
    """Names."""
    there = {"token_embd": "word_embeddings", "position_embd": "position_embeddings", "token_types": "token_type_embeddings", "token_embd_norm": "LayerNorm"}
    state = {}
    for name, value in t.items():
        first, kind = name.rsplit(".", 1)
        if name.startswith("blk."):
            _, layer, part = first.split(".", 2)
            state[f"{model}encoder.layer.{layer}.{MATRICES[part][0]}.{kind}"] = value
        elif first in there:
            state[f"{model}embeddings.{there[first]}.{kind}"] = value
    return state


def roberta_state(t: Tensors) -> Tensors:
    """Names, the head, and two rows of positions before the first, which padding takes."""
    import numpy as np

    state = bert_state(t, "roberta.")
    name = "roberta.embeddings.position_embeddings.weight"
    state[name] = np.concatenate([np.zeros((2, WIDTH)), state[name]])
    return state | {f"classifier.{there}.{kind}": t[f"{here}.{kind}"] for here, there in (("cls", "dense"), ("cls.output", "out_proj")) for kind in ("weight", "bias")}


def nomic_state(t: Tensors) -> Tensors:
    """Names, and q, k and v by themselves."""
    names = {
        "attn_output.weight": "self_attn.o_proj.weight",
        "ffn_gate.weight": "mlp.gate_proj.weight",
        "ffn_up.weight": "mlp.up_proj.weight",
        "ffn_down.weight": "mlp.down_proj.weight",
        **{f"attn_output_norm.{kind}": f"post_attention_layernorm.{kind}" for kind in ("weight", "bias")},
        **{f"layer_output_norm.{kind}": f"post_mlp_layernorm.{kind}" for kind in ("weight", "bias")},
    }
    state = bert_state({name: value for name, value in t.items() if not name.startswith("blk.")})
    for i in range(LAYERS):
        state |= {f"layers.{i}.{there}": t[f"blk.{i}.{here}"] for here, there in names.items()}
        for part, name in enumerate("qkv"):
            state[f"layers.{i}.self_attn.{name}_proj.weight"] = t[f"blk.{i}.attn_qkv.weight"][part * WIDTH : (part + 1) * WIDTH]
    return state


CASES = {
    "bert-base": Case("bert", bert, {**ENCODER, "pooling_type": 1}, SHAPES, bert_state),
    "bert-classifier": Case(
        "bert",
        roberta,
        {**ENCODER, "classifier.output_labels": ["yes", "no", "perhaps"]},
        {
            **SHAPES,
            "token_types.weight": (1, WIDTH),
            "cls.weight": (WIDTH, WIDTH),
            "cls.bias": (WIDTH,),
            "cls.output.weight": (LABELS, WIDTH),
            "cls.output.bias": (LABELS,),
        },
        roberta_state,
    ),
    "nomic-bert-base": Case(
        "nomic-bert",
        nomic_bert,
        {**ENCODER, "rope.freq_base": 1000.0, "pooling_type": 1},
        {
            **EMBEDDINGS,
            "token_types.weight": (2, WIDTH),
            **per_layer(
                LAYERS,
                {
                    "attn_qkv.weight": (3 * WIDTH, WIDTH),
                    "attn_output.weight": (WIDTH, WIDTH),
                    "ffn_gate.weight": (FF, WIDTH),
                    "ffn_up.weight": (FF, WIDTH),
                    "ffn_down.weight": (WIDTH, FF),
                    **NORMS,
                },
            ),
        },
        nomic_state,
    ),
}
