"""Llama 4 (huggingface.co/meta-llama/Llama-4-Scout-17B-16E): three layers with rope that see only their chunk, then one that sees all.

That one has no rope (arXiv:2305.19466), and queries that grow with their position. Experts are given x times the sigmoid of their
score. No key holds the chunk's length or the growth: they are those of the published models, unless the file says otherwise.
"""

from __future__ import annotations

from dataclasses import replace

from edgerun.models.components import Attention, Experts, FeedForward, Head, Layer, Norm, QKNorm, Temperature
from edgerun.models.hyperparameters import MAX_CONTEXT, Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU; every `interleave_moe_layer_step`th layer has experts."""
    norm, chunk = Norm("rms", h.eps()), h.count("attention.sliding_window", 8192, least=0, most=MAX_CONTEXT)
    # Only the model with 128 experts does without this norm. It comes after the rope, which changes no length: before is the same.
    qk_norm = None if h.count("expert_count", 0, least=0) == 128 else QKNorm(replace(norm, bare=True))
    near = Attention(h.heads(), h.rope("neighbours"), qk_norm, chunk=chunk if 0 < chunk < h.context else None)
    length = h.count("attention.temperature_length", 8192, most=MAX_CONTEXT)
    far = Attention(h.heads(), temperature=Temperature(h.number("attention.temperature_scale", 0.1, most=1e3), length, offset=1))
    plain, step = FeedForward(h.count("feed_forward_length"), "silu"), h.count("interleave_moe_layer_step", least=0)
    experts = _experts(h) if step else plain
    layers = [
        Layer(far if chunk and i % 4 == 3 else near, experts if step and i % step == step - 1 else plain, norm)   # a chunk of 0: rope in every layer
        for i in range(h.n_layer)
    ]
    return h.spec(layers, Head(norm))


def _experts(h: Hyperparameters) -> Experts:
    """The shared feed-forward is as wide as an expert."""
    width = h.count("expert_feed_forward_length")
    return Experts(h.routing("sigmoid"), width, weigh="input", shared=FeedForward(width, "silu", suffix="_shexp"))
