"""The recurrent mixers that several families share, read from a file's `ssm` and `shortconv` keys. No family: it defines no spec."""

from __future__ import annotations

from typing import Literal

from edgerun.models.components import Attention, Convolution, DeltaNet, Head, Layer, Mamba, Mamba2, Norm, Part, QKNorm, ShortConvolution
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec

MAX_TAPS = 256
# Falcon Mamba's mixer_rms_eps: no key holds it, and the published checkpoints have no other.
MIXER_EPS = 1e-6


def mamba(h: Hyperparameters) -> Mamba:
    """The mixer of Mamba."""
    inner, n, rank = h.count("ssm.inner_size"), h.count("ssm.state_size"), h.count("ssm.time_step_rank")
    return Mamba(inner, n, rank, _convolution(h), MIXER_EPS if h.flag("ssm.dt_b_c_rms", False) else None)


def mamba2(h: Hyperparameters, norm: Norm | None) -> Mamba2:
    """The mixer of Mamba 2, with this norm."""
    inner, n, heads, groups = h.count("ssm.inner_size"), h.count("ssm.state_size"), h.count("ssm.time_step_rank"), h.count("ssm.group_count")
    if inner % heads or inner == heads:
        raise h.wrong("ssm.time_step_rank", heads, f"a number of heads is needed that divides ssm.inner_size, {inner}, and is less")
    if heads % groups:
        raise h.wrong("ssm.group_count", groups, f"it must divide ssm.time_step_rank, {heads}")
    return Mamba2(inner, n, heads, groups, _convolution(h), norm)


def short_convolution(h: Hyperparameters) -> ShortConvolution:
    """The mixer of LFM2's layers without attention."""
    return ShortConvolution(Convolution(h.count("shortconv.l_cache", least=2, most=MAX_TAPS), activation=None))


def delta_decoder(h: Hyperparameters, feed_forward: Part, tiled: bool, scores: Literal["by key head", "apart"]) -> Spec:
    """A decoder of delta nets and, in every so many layers, gated attention, as in Qwen3-Next; tiled, scores: as in `DeltaNet`."""
    norm = Norm("rms", h.eps())
    key_heads, heads, inner = h.count("ssm.group_count"), h.count("ssm.time_step_rank"), h.count("ssm.inner_size")
    if heads % key_heads:
        raise h.wrong("ssm.group_count", key_heads, f"it must divide ssm.time_step_rank, {heads}")
    if inner % heads:
        raise h.wrong("ssm.inner_size", inner, f"ssm.time_step_rank, {heads}, must divide it")
    net = DeltaNet(key_heads, heads, h.count("ssm.state_size"), inner // heads, _convolution(h), norm, tiled, scores)
    attention = Attention(h.heads(), h.rope("halves"), QKNorm(norm), gated=True)
    period = h.count("full_attention_interval", 4)
    nets = h.flags("attention.recurrent_layers") or [(i + 1) % period > 0 for i in range(h.n_layer)]
    layers = [Layer(net if is_net else attention, feed_forward, norm, ffn_norm="post_attention_norm") for is_net in nets[: h.layers()]]
    return h.spec(layers, Head(norm))


def _convolution(h: Hyperparameters) -> Convolution:
    return Convolution(h.count("ssm.conv_kernel", least=2, most=MAX_TAPS))
