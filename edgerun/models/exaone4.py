"""EXAONE 4.0 (arXiv:2507.11407): norms only after attention and feed-forward, and on each head of q and k.

The 32B has sliding layers with rope and global ones without; the 1.2B has global layers only, all with rope. llama.cpp tells them
apart by the number of layers; here the file's window does, as the checkpoint's own code.
"""

from __future__ import annotations

from dataclasses import replace

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm, QKNorm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Post-norm decoder with SwiGLU."""
    norm = Norm("rms", h.eps())
    attention = Attention(h.heads(), h.rope("halves"), QKNorm(norm))
    feed_forward = FeedForward(h.count("feed_forward_length"), "silu")
    everywhere = Layer(attention, feed_forward, norm, None, None, "post_attention_norm", "post_ffw_norm")
    near = replace(everywhere, attention=replace(attention, window=h.window()))
    far = replace(everywhere, attention=replace(attention, rope=None))
    if h.optional("attention.sliding_window") is None:
        return h.spec([everywhere] * h.n_layer, Head(norm))
    return h.spec([near if slides else far for slides in h.sliding(4)], Head(norm))
