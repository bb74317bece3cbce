"""Nomic Embed v2 (arXiv:2502.07972): Nomic's encoder with GELU, biases, and experts without gate in every so many-th layer.

The weights of the chosen experts are not normalised. The one bias that a layer's experts share in the checkpoint is not in its
files: llama.cpp's converter leaves it out.
"""

from __future__ import annotations

from edgerun.models.components import Attention, Embedding, Experts, FeedForward, Norm, PostNormLayer
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Post-norm encoder with rope; the second of every `moe_every_n_layers` layers has experts."""
    norm, width, period = Norm("layer", h.layer_norm_eps()), h.count("feed_forward_length"), h.count("moe_every_n_layers", least=0)
    attention = Attention(h.heads(), h.rope("halves"), causal=h.flag("attention.causal", False))
    dense = PostNormLayer(attention, FeedForward(width, "gelu_erf", "plain"), norm)
    mixed = PostNormLayer(attention, Experts(h.routing("softmax"), width, "gelu_erf", "plain"), norm)
    layers = [mixed if period and i % period == 1 else dense for i in range(h.n_layer)]
    return h.spec(layers, h.encoded(), Embedding(types=h.has("token_types.weight"), norm=norm))
