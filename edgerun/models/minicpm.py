"""MiniCPM 1, 2 and 4 (arXiv:2404.06395): Llama with scaled embeddings, residuals and logits; logits are divided by theirs.

Older files state no scales: they hold MiniCPM-2B, with scale_emb 12, scale_depth 1.4 and dim_model_base 256.
"""

from __future__ import annotations

import math

from edgerun.models.components import Attention, Embedding, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU; the file's q and k are permuted as in Llama's."""
    norm = Norm("rms", h.eps())
    residual = h.positive("residual_scale", 1.4 / math.sqrt(h.n_layer))
    feed_forward = FeedForward(h.count("feed_forward_length"), "silu")
    layer = Layer(Attention(h.heads(), h.rope("neighbours")), feed_forward, norm, residual_scale=residual)
    head = Head(norm, scale=1 / h.positive("logit_scale", h.n_embd / 256))
    return h.spec([layer] * h.n_layer, head, Embedding(h.positive("embedding_scale", 12.0)))
