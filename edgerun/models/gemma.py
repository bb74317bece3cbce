"""Gemma and CodeGemma (arXiv:2403.08295, 2406.11409): Llama with GeGLU, wide heads and scaled embeddings.

The file's norm weights hold 1 + w, and its token table is not scaled yet.
"""

from __future__ import annotations

import math

from edgerun.models.components import Attention, Embedding, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with GeGLU."""
    norm = Norm("rms", h.eps())
    layer = Layer(Attention(h.heads(), h.rope("halves")), FeedForward(h.count("feed_forward_length"), "gelu"), norm)
    return h.spec([layer] * h.n_layer, Head(norm), Embedding(math.sqrt(h.n_embd)))
