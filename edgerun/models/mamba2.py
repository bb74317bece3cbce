"""Mamba 2 (arXiv:2405.21060) and Mamba-Codestral (huggingface.co/mistralai/Mamba-Codestral-7B-v0.1)."""

from __future__ import annotations

from edgerun.models.components import Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.recurrent import mamba2
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Layers of nothing but a scan by heads."""
    norm = Norm("rms", h.eps())
    return h.spec([Layer(mamba2(h, norm), None, norm, ffn_norm=None)] * h.n_layer, Head(norm))
