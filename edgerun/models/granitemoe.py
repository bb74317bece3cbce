"""Granite 3 with experts (huggingface.co/ibm-granite/granite-3.0-3b-a800m-base), and a shared one where the file has it."""

from __future__ import annotations

from edgerun.models.components import Experts, FeedForward
from edgerun.models.granite import decoder
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Granite whose feed-forward are SwiGLU experts, weighed by a softmax over the chosen."""
    shared = h.count("expert_shared_feed_forward_length", 0, least=0)
    both = FeedForward(shared, "silu", suffix="_shexp") if shared else None
    return decoder(h, Experts(h.routing("softmax", normalise=0.0), h.count("feed_forward_length"), shared=both))
