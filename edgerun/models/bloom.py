"""BLOOM (arXiv:2211.05100): ALiBi instead of a rope, a layer norm on the embeddings, q, k, v in one matrix, biases everywhere."""

from __future__ import annotations

from edgerun.models.components import Alibi, Attention, Embedding, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with GELU in its tanh form."""
    norm = Norm("layer", h.layer_norm_eps())
    attention = Attention(h.heads(), alibi=Alibi(h.positive("attention.max_alibi_bias", 8.0)))
    layer = Layer(attention, FeedForward(h.count("feed_forward_length"), "gelu", "plain"), norm)
    return h.spec([layer] * h.n_layer, Head(norm), Embedding(norm=norm))
