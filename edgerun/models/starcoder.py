"""StarCoder (arXiv:2305.06161): GPT-2 in which all queries of a layer share one key and value head."""

from __future__ import annotations

from edgerun.models.components import Attention, Embedding, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with GELU, without rope."""
    norm = Norm("layer", h.layer_norm_eps())
    layer = Layer(Attention(h.heads()), FeedForward(h.count("feed_forward_length"), "gelu", "plain"), norm)
    return h.spec([layer] * h.n_layer, Head(norm), Embedding(positions=h.context))
