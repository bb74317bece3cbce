"""Arcee AFM (huggingface.co/arcee-ai/AFM-4.5B): Llama with squared ReLU (arXiv:2109.08668) and no gate."""

from __future__ import annotations

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder; the file's q and k are permuted as in Llama's."""
    norm = Norm("rms", h.eps())
    layer = Layer(Attention(h.heads(), h.rope("neighbours")), FeedForward(h.count("feed_forward_length"), "relu2", "plain"), norm)
    return h.spec([layer] * h.n_layer, Head(norm))
