"""BERT (arXiv:1810.04805) and what shares its files: RoBERTa (arXiv:1907.11692), XLM-R, MiniLM, BGE, E5, and rerankers.

Every token is of the first type. The file's learned positions begin where the text does (RoBERTa's padding is cut off).
"""

from __future__ import annotations

from edgerun.models.components import Attention, Embedding, FeedForward, Norm, PostNormLayer
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Post-norm encoder with learned positions."""
    norm = Norm("layer", h.layer_norm_eps())
    attention = Attention(h.heads(), causal=h.flag("attention.causal", False))
    layer = PostNormLayer(attention, FeedForward(h.count("feed_forward_length"), "gelu_erf", "plain"), norm)
    embedding = Embedding(positions=h.context, types=h.has("token_types.weight"), norm=norm)
    return h.spec([layer] * h.n_layer, h.encoded(), embedding)
