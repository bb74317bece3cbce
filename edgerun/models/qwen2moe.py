"""Qwen1.5-MoE and Qwen2-57B-A14B (arXiv:2407.10671): fine-grained experts whose weights are not normalised, and a gated shared one.

Biases on q, k and v, which the file brings.
"""

from __future__ import annotations

from edgerun.models.components import Attention, Experts, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU experts."""
    norm, routing, wide = Norm("rms", h.eps()), h.routing("softmax"), h.count("feed_forward_length")
    width = h.count("expert_feed_forward_length", max(1, wide // routing.used))
    shared = FeedForward(h.count("expert_shared_feed_forward_length", wide), "silu", suffix="_shexp", score="ffn_gate_inp_shexp")
    layer = Layer(Attention(h.heads(), h.rope("halves")), Experts(routing, width, shared=shared), norm)
    return h.spec([layer] * h.n_layer, Head(norm))
