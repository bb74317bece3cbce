"""Apertus (arXiv:2509.14233): xIELU (arXiv:2411.13010) with parameters for each layer, and norms on each head of q and k."""

from __future__ import annotations

import math

from edgerun.models.components import Attention, FeedForward, Head, Layer, Norm, QKNorm, Xielu
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec


def spec(h: Hyperparameters) -> Spec:
    """Pre-norm decoder without a gate. The file holds the alphas as the checkpoint does: softplus makes them positive."""
    norm = Norm("rms", h.eps())
    attention = Attention(h.heads(), h.rope("halves"), QKNorm(norm))
    width = h.count("feed_forward_length")
    alpha_p, alpha_n, beta, eps = (h.by_layer(f"xielu.{name}", -1e4, 1e4, own=False) for name in ("alpha_p", "alpha_n", "beta", "eps"))
    xielus = [Xielu(_softplus(p), b + _softplus(n), b, e) for p, n, b, e in zip(alpha_p, alpha_n, beta, eps, strict=True)]
    return h.spec([Layer(attention, FeedForward(width, xielu, "plain"), norm) for xielu in xielus], Head(norm))


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
