"""Granite 3 and dense Granite 4 (huggingface.co/ibm-granite/granite-3.0-2b-base): Llama with four multipliers.

Logits are divided by theirs. `rope.scaling.finetuned` is a switch here: false is a model without rope.
"""

from __future__ import annotations

from edgerun.models.components import Attention, Embedding, FeedForward, Head, Layer, Norm, Part
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU."""
    return decoder(h, FeedForward(h.count("feed_forward_length"), "silu"))


def decoder(h: Hyperparameters, feed_forward: Part) -> Spec:
    """A Granite around this feed-forward; the file's q and k are permuted as in Llama's."""
    norm = Norm("rms", h.eps())
    rope = h.rope("neighbours") if h.flag("rope.scaling.finetuned", True) else None
    attention = Attention(h.heads(), rope, scale=h.optional("attention.scale"))
    layer = Layer(attention, feed_forward, norm, residual_scale=h.optional("residual_scale") or 1.0)
    head = Head(norm, scale=1 / (h.optional("logit_scale") or 1.0))
    return h.spec([layer] * h.n_layer, head, Embedding(h.optional("embedding_scale") or 1.0))
