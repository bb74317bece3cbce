"""StarCoder 2 (arXiv:2402.19173): layer norms, rope, grouped heads, biases everywhere, a sliding window of 4096 in every layer.

No key holds the window, and llama.cpp leaves it out; here it is kept, as in the checkpoints' own code.
"""

from __future__ import annotations

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with GELU."""
    norm = Norm("layer", h.layer_norm_eps())
    attention = Attention(h.heads(), h.rope("halves"), window=h.window(4096))
    layer = Layer(attention, FeedForward(h.count("feed_forward_length"), "gelu", "plain"), norm)
    return h.spec([layer] * h.n_layer, Head(norm))
