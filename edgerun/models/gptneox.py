"""GPT-NeoX and Pythia (arXiv:2204.06745, 2304.01373): two layer norms that both read the same x, or one after the other; a rope
over part of each head, q, k, v in one matrix, biases everywhere.
"""

from __future__ import annotations

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Parallel or sequential decoder with GELU."""
    norm = Norm("layer", h.layer_norm_eps())
    # No key holds hidden_act: it is the exact GELU, but the tanh form in the 20B, the one with 44 layers.
    feed_forward = FeedForward(h.count("feed_forward_length"), "gelu" if h.n_layer == 44 else "gelu_erf", "plain")
    layer = Layer(Attention(h.heads(), h.rope("halves")), feed_forward, norm, parallel=h.flag("use_parallel_residual"))
    return h.spec([layer] * h.n_layer, Head(norm))
