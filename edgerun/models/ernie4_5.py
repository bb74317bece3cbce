"""ERNIE 4.5, dense (huggingface.co/baidu/ERNIE-4.5-0.3B-PT): Llama's layers; the rope turns neighbours of q and k as they are."""

from __future__ import annotations

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU."""
    norm = Norm("rms", h.eps())
    layer = Layer(Attention(h.heads(), h.rope("neighbours")), FeedForward(h.count("feed_forward_length"), "silu"), norm)
    return h.spec([layer] * h.n_layer, Head(norm))
