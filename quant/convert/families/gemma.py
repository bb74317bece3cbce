"""Gemma, Gemma 2, Gemma 3 (arXiv:2403.08295, arXiv:2408.00118, arXiv:2503.19786): norms hold what is added to 1, the output is the token table."""

from __future__ import annotations

from quant.convert.family import Family, Keys, Names, To
from quant.convert.keys import STANDARD
from quant.convert.names import ATTENTION, MLP, NORMS, OUTER, QK_NORMS, one_more, with_value

AROUND: Names = with_value({**OUTER, "lm_head": None}, one_more)
SANDWICH: Names = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
CAPS: Keys = {"attn_logit_softcapping": "attn_logit_softcapping", "final_logit_softcapping": "final_logit_softcapping", "attention.sliding_window": "sliding_window"}
# Without the rows of the token table beyond the vocabulary.
KNOWN_TOKENS: Names = {**AROUND, "embed_tokens": To("token_embd", lambda x, c: x[: c.tokens])}
NO_BASE: Keys = {"rope.freq_base": lambda c: None}

FAMILIES = (
    Family("gemma", ("gemma",), {**STANDARD, **NO_BASE}, AROUND, with_value({**NORMS, **ATTENTION, **MLP}, one_more), defaults={"head_dim": 256}),
    Family("gemma2", ("gemma2",), {**STANDARD, **NO_BASE, **CAPS}, AROUND, with_value({**SANDWICH, **ATTENTION, **MLP}, one_more), defaults={"head_dim": 256}),
    Family(
        "gemma3", ("gemma3", "gemma3_text"),
        {**STANDARD, "final_logit_softcapping": CAPS["final_logit_softcapping"], "attention.sliding_window": "sliding_window"},
        KNOWN_TOKENS, with_value({**SANDWICH, **ATTENTION, **QK_NORMS, **MLP}, one_more),
        defaults={
            "max_position_embeddings": 131072, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0,
        },
    ),
)  # fmt: skip
