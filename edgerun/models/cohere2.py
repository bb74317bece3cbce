"""Command R7B and Command A (arXiv:2504.00698): Command R in which three sliding layers with rope take turns with a global one
without.
"""

from __future__ import annotations

from dataclasses import replace

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Parallel decoder of sliding and global layers with SwiGLU and scaled logits."""
    norm, heads = Norm("layer", h.layer_norm_eps()), h.heads()
    h.count("attention.sliding_window")   # without it no layer would turn
    feed_forward = FeedForward(h.count("feed_forward_length"), "silu")
    everywhere = Layer(Attention(heads), feed_forward, norm, ffn_norm=None, parallel=True)
    sliding = replace(everywhere, attention=Attention(heads, h.rope("neighbours"), window=h.window()))
    layers = [sliding if slides else everywhere for slides in h.sliding(4)]
    return h.spec(layers, Head(norm, scale=h.optional("logit_scale") or 1.0))
