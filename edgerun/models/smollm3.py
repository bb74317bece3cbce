"""SmolLM3 (huggingface.co/HuggingFaceTB/SmolLM3-3B): every fourth layer has no rope (arXiv:2501.18795)."""

from __future__ import annotations

from dataclasses import replace

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU; the file's q and k are permuted as in Llama's."""
    norm = Norm("rms", h.eps())
    turning = Attention(h.heads(), h.rope("neighbours"))
    still = replace(turning, rope=None)
    feed_forward = FeedForward(h.count("feed_forward_length"), "silu")
    return h.spec([Layer(still if i % 4 == 3 else turning, feed_forward, norm) for i in range(h.n_layer)], Head(norm))
