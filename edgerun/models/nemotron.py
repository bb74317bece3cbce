"""Nemotron and Minitron (arXiv:2402.16819, 2407.14679): layer norms, a rope over part of each head, a plain feed-forward with
the square of ReLU.

The file's norm weights hold 1 + w.
"""

from __future__ import annotations

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder."""
    norm = Norm("layer", h.layer_norm_eps())
    layer = Layer(Attention(h.heads(), h.rope("halves")), FeedForward(h.count("feed_forward_length"), "relu2", "plain"), norm)
    return h.spec([layer] * h.n_layer, Head(norm))
