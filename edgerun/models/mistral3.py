"""Ministral 3 (huggingface.co/mistralai/Ministral-3-8B-Instruct-2512): Llama, with queries that grow far beyond the first context.

Files of Mistral Small 3 converted lately have this architecture as well, and none of what is new.
"""

from __future__ import annotations

import math
from dataclasses import replace

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm, YarnScaling
from edgerun.models.hyperparameters import MAX_CONTEXT, Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU; the file's q and k are permuted as in Llama's."""
    norm, rope = Norm("rms", h.eps()), h.rope("neighbours")
    # YaRN's factor of cos and sin, divided by the same formula with a multiplier of the logarithm: mostly 1, so that both cancel.
    if isinstance(rope.scaling, YarnScaling) and (multiplier := h.number("rope.scaling.yarn_log_multiplier", 0.0, most=1e3)):
        rope = replace(rope, attention_factor=rope.attention_factor / (1 + 0.1 * multiplier * math.log(rope.scaling.factor)))
    first = h.count("rope.scaling.original_context_length", h.context, most=MAX_CONTEXT)
    attention = Attention(h.heads(), rope, window=h.window(), temperature=h.temperature(first))
    layer = Layer(attention, FeedForward(h.count("feed_forward_length"), "silu"), norm)
    return h.spec([layer] * h.n_layer, Head(norm))
