"""Qwen3.5 with experts (huggingface.co/Qwen/Qwen3.5-35B-A3B): the layers of Qwen3.5, the experts of Qwen3-Next."""

from __future__ import annotations

from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.qwen3next import experts
from edgerun.models.recurrent import delta_decoder
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder with SwiGLU experts."""
    return delta_decoder(h, experts(h), tiled=True, scores="apart")
