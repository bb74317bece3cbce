"""Encoders: BERT (arXiv:1810.04805), RoBERTa (arXiv:1907.11692), XLM-RoBERTa, Nomic Embed (arXiv:2402.01613)."""

from __future__ import annotations

import numpy as np

from quant.convert.config import Config, labels
from quant.convert.family import Family, Keys, Names, To
from quant.convert.keys import STANDARD


def offset(c: Config) -> int:
    """Rows of positions before the first, which padding takes."""
    return 1 + c.count("pad_token_id", 1)


def context(c: Config) -> int:
    """Positions of Nomic's models: those they were trained on."""
    given = c.count("max_position_embeddings n_positions")
    if not c.get("n_positions"):
        return given
    return min(given, 512 if mixed(c) else c.count("max_trained_positions", 2048))


def mixed(c: Config) -> bool:
    """Whether some layers have experts."""
    return c.count("moe_every_n_layers", 0) > 0


def stacked(x: np.ndarray, c: Config) -> np.ndarray:
    """The rows of all experts, one behind the other, as a stack."""
    experts = c.count("num_experts num_local_experts")
    return x.reshape(experts, x.shape[0] // experts, x.shape[1])


ROBERTA, BERT = ("roberta", "xlm-roberta", "camembert"), ("bert",)
KEYS: Keys = {**STANDARD, "attention.causal": lambda c: False, "pooling_type": lambda c: c.pooling}
LABELS: Keys = {"classifier.output_labels": labels}
OUTER: Names = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "pooler.dense": None,
    **dict.fromkeys(f"cls.{part}" for part in ("predictions", "predictions.transform.dense", "predictions.transform.LayerNorm", "predictions.decoder", "seq_relationship")),
    **dict.fromkeys(f"lm_head{part}" for part in ("", ".dense", ".layer_norm", ".decoder")),
}
CUT: Names = {**OUTER, "embeddings.position_embeddings": To("position_embd", lambda x, c: x[offset(c) :])}
LAYER: Names = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
CUT_KEYS: Keys = KEYS | {"context_length": lambda c: max(0, c.count("max_position_embeddings") - offset(c))}
NOMIC: Names = {
    "attn.Wqkv": "attn_qkv",
    "attn.out_proj": "attn_output",
    "norm1": "attn_output_norm",
    "mlp.fc11": "ffn_up",
    "mlp.fc12": "ffn_gate",
    "mlp.fc2": "ffn_down",
    "norm2": "layer_output_norm",
}
NOMIC_KEYS: Keys = KEYS | {"context_length": context}
MIXED_KEYS: Keys = {"moe_every_n_layers": "moe_every_n_layers", "expert_used_count": "moe_top_k"}
MIXED: Names = {
    "mlp.fc1": "ffn_up",
    "mlp.router.layer": "ffn_gate_inp",
    "mlp.experts.mlp.w1": To("ffn_up_exps.weight", stacked),
    "mlp.experts.mlp.w2": To("ffn_down_exps.weight", lambda x, c: stacked(x, c).swapaxes(1, 2)),
    "mlp.experts": None,   # their common bias, which its own code leaves out too
}
AFTER_POOLER: Names = {"pooler.dense": "cls", "classifier": "cls.output"}
OF_ROBERTA: Names = {"classifier.dense": "cls", "classifier.out_proj": "cls.output"}

FAMILIES = (
    Family("bert", BERT, KEYS, OUTER, LAYER, "encoder.layer", activations=("gelu",)),
    Family("bert", BERT, KEYS | LABELS, OUTER | AFTER_POOLER, LAYER, "encoder.layer", activations=("gelu",), classes=("BertForSequenceClassification",)),
    Family("bert", ROBERTA, CUT_KEYS, CUT, LAYER, "encoder.layer", activations=("gelu",)),
    Family(
        "bert", ROBERTA, CUT_KEYS | LABELS, CUT | OF_ROBERTA, LAYER, "encoder.layer", activations=("gelu",),
        classes=("RobertaForSequenceClassification", "XLMRobertaForSequenceClassification", "CamembertForSequenceClassification"),
    ),
    Family("nomic-bert", ("nomic_bert",), NOMIC_KEYS, {**OUTER, "emb_ln": "token_embd_norm"}, NOMIC, "encoder.layers"),
    Family("nomic-bert-moe", ("nomic_bert",), NOMIC_KEYS | MIXED_KEYS, {**OUTER, "emb_ln": "token_embd_norm"}, NOMIC | MIXED, "encoder.layers", when=mixed, activations=("gelu",)),
)  # fmt: skip
