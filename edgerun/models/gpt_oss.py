"""gpt-oss (arXiv:2508.10925): sliding and global layers take turns, heads with sinks, experts behind a bounded gate, biases everywhere."""

from __future__ import annotations

from dataclasses import replace

from edgerun.models.components import Attention, Clamp, Experts, Head, Layer, Norm, YarnScaling
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder of experts; what the file calls post_attention_norm comes before these."""
    norm, rope = Norm("rms", h.eps()), h.rope("halves")
    # No key says where YaRN's ramp ends: not at whole pairs in the published models, which stretch 4096 positions 32 times.
    if isinstance(rope.scaling, YarnScaling) and (rope.scaling.factor, rope.scaling.context) == (32, 4096):
        rope = replace(rope, scaling=replace(rope.scaling, rounded=False))
    attention = Attention(h.heads(), rope, sinks=True)
    experts = Experts(h.routing("softmax", 0.0), h.count("expert_feed_forward_length"), Clamp(slope=1.702, limit=7.0))
    everywhere = Layer(attention, experts, norm, ffn_norm="post_attention_norm")
    sliding = replace(everywhere, attention=replace(attention, window=h.window()))
    return h.spec([sliding if slides else everywhere for slides in h.sliding(2)], Head(norm))
