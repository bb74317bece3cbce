"""Qwen3.5 (huggingface.co/Qwen/Qwen3.5-27B): Qwen3-Next's layers with one SwiGLU.

The converter orders the delta nets' value heads so that head j reads key head j % key heads, and keeps beta and alpha apart. The
sections of its rope are for pictures: in a text all of them turn alike.
"""

from __future__ import annotations

from edgerun.models.components import FeedForward
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.recurrent import delta_decoder
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU."""
    return delta_decoder(h, FeedForward(h.count("feed_forward_length"), "silu"), tiled=True, scores="apart")
