"""OLMo 2 and 3 (arXiv:2501.00656, 2512.13961): norms only after attention and feed-forward, and over the whole of q and of k.

OLMo 3 adds sliding layers, three to each global one. Scaling stretches the rope of the global ones only.
"""

from __future__ import annotations

from dataclasses import replace

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm, QKNorm, Rope
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Post-norm decoder with SwiGLU."""
    norm, rope = Norm("rms", h.eps()), h.rope("halves")
    attention = Attention(h.heads(), rope, QKNorm(norm, over="all"))
    feed_forward = FeedForward(h.count("feed_forward_length"), "silu")
    everywhere = Layer(attention, feed_forward, norm, None, None, "post_attention_norm", "post_ffw_norm")
    near = Rope(rope.width, h.base("rope.freq_base_swa", rope.base), "halves")
    sliding = replace(everywhere, attention=replace(attention, rope=near, window=h.window()))
    return h.spec([sliding if slides else everywhere for slides in h.sliding(4)], Head(norm))
