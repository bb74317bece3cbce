"""Qwen3-Next (huggingface.co/Qwen/Qwen3-Next-80B-A3B-Instruct): gated delta nets, and gated attention in every fourth layer.

The file's norm weights hold 1 + w, but for those of the delta nets. Experts' weights are normalised, the shared expert is gated.
"""

from __future__ import annotations

from edgerun.models.components import Experts, FeedForward
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.recurrent import delta_decoder
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU experts."""
    return delta_decoder(h, experts(h), tiled=False, scores="by key head")


def experts(h: Hyperparameters) -> Experts:
    """Experts of which one is shared and gated."""
    shared = FeedForward(h.count("expert_shared_feed_forward_length"), "silu", suffix="_shexp", score="ffn_gate_inp_shexp")
    return Experts(h.routing("softmax", normalise=0.0), h.count("expert_feed_forward_length"), shared=shared)
