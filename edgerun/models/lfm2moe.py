"""LFM2-8B-A1B (huggingface.co/LiquidAI/LFM2-8B-A1B): LFM2 whose feed-forward, but for the first layers, are experts.

Experts are ranked by the sigmoid of their score plus a bias, weighed by the sigmoid alone, normalised.
"""

from __future__ import annotations

from edgerun.models.components import Experts, FeedForward
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.lfm2 import decoder
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder of convolutions and attention with SwiGLU experts."""
    dense = h.count("leading_dense_block_count", 0, least=0, most=h.n_layer)
    experts = Experts(h.routing("sigmoid", normalise=1e-6, bias="exp_probs_b.bias"), h.count("expert_feed_forward_length"))
    feed_forward = FeedForward(h.count("feed_forward_length"), "silu")
    return decoder(h, [feed_forward] * dense + [experts] * (h.n_layer - dense))
