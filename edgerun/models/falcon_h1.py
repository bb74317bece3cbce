"""Falcon-H1 (arXiv:2507.22448): attention and a Mamba 2 mixer side by side in every layer.

The converter multiplies the checkpoint's many multipliers into the matrices. Most checkpoints have no norm in the mixer; where
the file has one, the gate comes before it. The norm before the feed-forward is named without ".weight".
"""

from __future__ import annotations

from edgerun.models.components import Attention, Both, FeedForward, Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.recurrent import mamba2
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU."""
    norm = Norm("rms", h.eps())
    mixer = mamba2(h, norm if h.has("blk.0.ssm_norm.weight") else None)
    layer = Layer(Both(Attention(h.heads(), h.rope("halves")), mixer), FeedForward(h.count("feed_forward_length"), "silu"), norm)
    return h.spec([layer] * h.n_layer, Head(norm))
