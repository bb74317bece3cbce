"""Phi-3 (arXiv:2404.14219): q, k and v in one matrix, gate and up in another, a sliding window in every layer.

llama.cpp leaves the window out; here it is kept, as in the checkpoint's own code. Long-context files (longrope) bring
tensors that are not computed yet, and are refused for them.
"""

from __future__ import annotations

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU."""
    norm = Norm("rms", h.eps())
    attention = Attention(h.heads(), h.rope("halves"), window=h.window())
    layer = Layer(attention, FeedForward(h.count("feed_forward_length"), "silu", "fused"), norm)
    return h.spec([layer] * h.n_layer, Head(norm))
