"""Phi-3, 3.5 and 4 (arXiv:2404.14219, 2412.08905): q, k and v in one matrix, gate and up in another, a window in every layer.

llama.cpp leaves the window out; here it is kept, as in the checkpoint's own code. Files for long contexts stretch the rope by
LongRoPE: docs/decisions/014-long-ropes-go-by-the-sequence.md.
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
