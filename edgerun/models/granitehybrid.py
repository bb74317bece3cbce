"""Granite 4 (huggingface.co/ibm-granite/granite-4.0-h-small) and Bamba (huggingface.co/ibm-ai-platform/Bamba-9B-v2).

Mamba 2 mixers, and attention where the file gives a layer key/value heads: without a rope in Granite, with one in Bamba.
"""

from __future__ import annotations

from edgerun.models.components import Attention, Embedding, Experts, FeedForward, Head, Layer, Norm, Part
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.recurrent import mamba2
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Granite whose layers are scans or attention, with one SwiGLU or with experts and a shared one."""
    norm, scale, residual = Norm("rms", h.eps()), h.optional("attention.scale"), h.optional("residual_scale") or 1.0
    turned, feed_forward = h.flag("rope.scaling.finetuned", True), _feed_forward(h)

    def mixer(kv: int) -> Part:
        if not kv:
            return mamba2(h, norm)
        heads = h.heads(kv)
        return Attention(heads, h.rope("neighbours", heads) if turned else None, scale=scale)

    layers = [Layer(mixer(kv), feed_forward, norm, residual_scale=residual) for kv in h.counts("attention.head_count_kv", least=0)]
    head = Head(norm, scale=1 / (h.optional("logit_scale") or 1.0))
    return h.spec(layers, head, Embedding(h.optional("embedding_scale") or 1.0))


def _feed_forward(h: Hyperparameters) -> Part:
    shared = h.count("expert_shared_feed_forward_length", 0, least=0)
    if not h.count("expert_count", 0, least=0):
        return FeedForward(shared or h.count("feed_forward_length"), "silu")
    both = FeedForward(shared, "silu", suffix="_shexp") if shared else None
    return Experts(h.routing("softmax", normalise=0.0), h.count("feed_forward_length"), shared=both)
