"""Rotary positions: the keys of their scaling, and the tensors of divisors that replace some kinds of it.

Knows both forms of config.json, rope_parameters and the older rope_scaling with rope_theta beside it, but no family.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgerun.errors import ModelError, Unsupported
from edgerun.gguf.file import shown
from quant.convert.config import Config

_BASES = "global_rope_theta rope_global_theta rope_theta_global rope_theta rotary_emb_base"
_SLIDING_BASES = "local_rope_theta rope_local_theta rope_theta_local swa_rope_theta rope_local_base_freq"
_NAMES = {"linear": "linear", "yarn": "yarn", "longrope": "longrope", "su": "longrope"}
_TENSORS_ONLY = ("default", "llama3", "mrope", "proportional")   # nothing more to say, or said by a tensor


def parameters(c: Config) -> Config:
    """What config.json says of the rope, of global layers where that of sliding ones is another."""
    everywhere = c.section("rope_parameters rope_scaling")
    return everywhere.section("full_attention") if everywhere.get("full_attention") is not None else everywhere


def kind(c: Config) -> str:
    """The type of scaling; `default` for none."""
    name = parameters(c).get("rope_type type") or "default"
    if name == "dynamic" and parameters(c).get("alpha") is not None:   # Hunyuan's, which only changes the base
        return "default"
    if not isinstance(name, str) or name not in (*_NAMES, *_TENSORS_ONLY):
        raise Unsupported(f"config.json: rope scaling of type {shown(str(name))!a} is not supported")
    return name


def scaling_type(c: Config) -> str | None:
    """GGUF's name of the scaling, where it is not said by a tensor."""
    return _NAMES.get(kind(c))


def base(c: Config) -> float | None:
    """The base of the frequencies."""
    own = parameters(c).get("rope_theta")
    return c.get(_BASES) if own is None else own


def unusual_base(c: Config) -> float | None:
    """The base where it is not the 10000 that every reader assumes; llama.cpp's converter leaves it out for older families."""
    return None if (own := base(c)) == 10000 else own


def sliding_base(c: Config) -> float | None:
    """The base in sliding layers where that is another."""
    own = c.section("rope_parameters rope_scaling").section("sliding_attention").get("rope_theta")
    return c.get(_SLIDING_BASES) if own is None else own


def turned(c: Config, default: float = 1.0) -> int:
    """How many numbers of a head the rope turns. default: share of them where config.json does not say."""
    share = parameters(c).get("partial_rotary_factor")
    return int(c.head_dim * (c.number("partial_rotary_factor rotary_pct", default) if share is None else parameters(c).number("partial_rotary_factor")))


def sections(c: Config) -> list[int] | None:
    """How the frequencies are shared between time, height and width, padded to four."""
    given = c.section("rope_parameters rope_scaling").get("mrope_section") or parameters(c).get("mrope_section")
    if given is not None and (not isinstance(given, list) or len(given) > 4):
        raise ModelError(f"config.json: mrope_section is {shown(repr(given))}, not a list of up to four")
    return None if given is None else [*given, 0, 0, 0, 0][:4]


def original_context(c: Config) -> int:
    """The context before scaling."""
    given = parameters(c).get("original_max_position_embeddings")
    return c.count("original_max_position_embeddings max_position_embeddings") if given is None else parameters(c).count("original_max_position_embeddings")


def _of(names: str, *kinds: str) -> Callable[[Config], Any]:
    """One of the parameters, for scaling of some kinds."""
    return lambda c: parameters(c).get(names) if kind(c) in kinds else None


KEYS: dict[str, str | Callable[[Config], Any]] = {
    "rope.scaling.type": scaling_type,
    "rope.scaling.factor": lambda c: parameters(c).number("factor") if kind(c) in ("linear", "yarn") else None,
    "rope.scaling.original_context_length": lambda c: original_context(c) if kind(c) == "yarn" else None,
    "rope.scaling.yarn_ext_factor": _of("extrapolation_factor", "yarn"),
    "rope.scaling.yarn_attn_factor": _of("attention_factor attn_factor", "yarn"),
    "rope.scaling.yarn_beta_fast": _of("beta_fast", "yarn"),
    "rope.scaling.yarn_beta_slow": _of("beta_slow", "yarn"),
    "rope.dimension_sections": sections,
    "rope.freq_base": base,
    "rope.freq_base_swa": sliding_base,
}


def tensors(c: Config) -> dict[str, np.ndarray]:
    """Divisors of the frequencies by the name of their tensor, float32 [numbers turned / 2]."""
    if kind(c) == "llama3":
        return {"rope_freqs.weight": _llama3(c)}
    given = parameters(c)
    if kind(c) in ("longrope", "su") and given.get("long_factor") is not None:
        return {f"rope_factors_{which}.weight": _factors(c, f"{which}_factor") for which in ("long", "short")}
    return {}


def _llama3(c: Config) -> np.ndarray:
    """Long wavelengths stretched, short ones kept, those between blended (huggingface.co/meta-llama/Llama-3.1-8B)."""
    p, n = parameters(c), turned(c)
    if not 0 < n <= 1 << 16:
        raise ModelError(f"config.json: a rope that turns {n} numbers of each head cannot be scaled")
    factor, low, high = p.number("factor", 8.0), p.number("low_freq_factor", 1.0), p.number("high_freq_factor", 4.0)
    with np.errstate(all="ignore"):
        wavelengths = np.float32(2 * np.pi) * np.float32(p.number("rope_theta", c.number(_BASES, 10000.0))) ** (np.arange(0, n, 2, dtype=np.float32) / np.float32(n))
        smooth = np.clip((np.float32(original_context(c)) / wavelengths - np.float32(low)) / np.float32(high - low), 0, 1).astype(np.float32)
        divisors = np.float32(1) / ((np.float32(1) - smooth) / np.float32(factor) + smooth)
    if not np.isfinite(divisors).all():
        raise ModelError("config.json: its rope scaling gives numbers that are not finite")
    return divisors.astype(np.float32)


def _factors(c: Config, name: str) -> np.ndarray:
    values = parameters(c).items(name, turned(c) // 2)
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        raise ModelError(f"config.json: {name} holds something that is not a number")
    return np.array(values, np.float32)
