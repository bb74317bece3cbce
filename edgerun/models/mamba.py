"""Mamba (arXiv:2312.00752) and what shares its files: Falcon Mamba (arXiv:2410.05355), which normalises dt, b and c."""

from __future__ import annotations

from edgerun.models.components import Head, Layer, Norm
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.recurrent import mamba
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Layers of nothing but a selective scan."""
    norm = Norm("rms", h.eps())
    return h.spec([Layer(mamba(h), None, norm, ffn_norm=None)] * h.n_layer, Head(norm))
