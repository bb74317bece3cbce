"""What a family's checkpoints look like in GGUF, as data. Knows how names are matched; the families are in `families/`."""

from __future__ import annotations

import difflib
import functools
import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgerun.errors import Unsupported
from edgerun.gguf.file import shown
from quant.convert import rope
from quant.convert.config import Config

Move = Callable[[np.ndarray, Config], np.ndarray]
Made = Callable[[Config], dict[str, np.ndarray]]
Keys = dict[str, "str | Callable[[Config], Any]"]   # GGUF's, each with its names in config.json or what computes it

# Wrappers around the text model, and in models of images or sounds the rest, which no text model needs.
_PREFIX = re.compile(r"^(?:(?:language_model|text_model|model|transformer|gpt_neox|backbone|bert|roberta|distilbert)\.)+")
_OTHER_SENSES = re.compile(r"(?:^|\.)(?:vision_tower|vision_model|vision_embed_tokens|visual|audio_tower|multi_modal_projector|embed_vision|embed_audio|image_newline)(?:\.|$)")
# Buffers: masks, positions and frequencies that are computed.
_BUFFERS = re.compile(r"(?:rotary_emb\.inv_freq|\b(?:attn|attention)\.(?:masked_)?bias|position_ids|rope\.freqs)$")
_GUESSES = re.compile(r"^(?:model\.)?mtp\.")   # layers that guess further tokens
_OLD_ENDS = {"gamma": "weight", "beta": "bias"}


@dataclass(frozen=True)
class To:
    """A tensor of the file made of one of the checkpoint, or of one for each expert.

    name: as in GGUF, without "blk.N."; .weight or .bias follow where the checkpoint's has them, unless it is `bare`. move: puts numbers
    elsewhere, whatever their type; on each matrix of a stack by itself where `stack` is set. value: computes others of them, in float32;
    not of biases. rows: how many there have to be; those that are missing are zeros.
    """

    name: str
    move: Move | None = None
    value: Move | None = None
    stack: bool = False
    bare: bool = False
    rows: Callable[[Config], int] | None = None


Names = dict[str, "str | To | tuple[To, ...] | None"]   # the checkpoint's to GGUF's; None for what is left out


@dataclass(frozen=True)
class Family:
    """One `general.architecture` and the checkpoints that become it.

    model_types: as in config.json; classes: of `architectures` there, `when`: what has to hold, where the type alone does not tell.
    keys: GGUF's without the architecture; nothing is written for None. outer, layer: names around the layers and within one, without
    .weight and .bias; `*` for the number of an expert or its like. block: what comes before the layer's number. defaults: what the
    checkpoint's own code takes for what config.json lacks. scalars: keys, in full, of numbers that each layer has as a tensor, with its
    name. made: tensors that are computed from config.json. activations: how the names begin of those that the architecture computes.
    """

    architecture: str
    model_types: tuple[str, ...]
    keys: Keys
    outer: Names
    layer: Names
    block: str = "layers"
    classes: tuple[str, ...] = ()
    when: Callable[[Config], bool] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    scalars: Mapping[str, str] = field(default_factory=dict)
    made: Made = rope.tensors
    activations: tuple[str, ...] = ("silu", "swish", "swiglu")

    def blocks(self, config: Config) -> int:
        """How many layers the file has; further ones of the checkpoint are left out."""
        source = self.keys["block_count"]
        return config.count(source) if isinstance(source, str) else int(source(config))

    def targets(self, name: str, config: Config) -> list[tuple[To, int | None]]:
        """What is made of the checkpoint's tensor `name`, named in full, and the number that it has in a stack of such tensors.

        Empty for what no file holds. Unsupported for a name that the family does not know.
        """
        if _BUFFERS.search(name) or _GUESSES.search(name) or (config.get("text_config") is not None and _OTHER_SENSES.search(name)):
            return []
        inner, _, end = stem(name).rpartition(".")
        end = _OLD_ENDS.get(end, end) if inner.endswith("LayerNorm") else end
        if end not in ("weight", "bias"):
            inner, end = f"{inner}.{end}".lstrip("."), ""
        layer = re.match(rf"{re.escape(self.block)}\.(\d{{1,6}})\.", inner)
        known, rest = (self.layer, inner[layer.end() :]) if layer else (self.outer, inner)
        number = re.search(r"(?<=\.)\d{1,6}(?=\.|$)", rest)
        pattern = f"{rest[: number.start()]}*{rest[number.end() :]}" if number else rest
        if pattern not in known:
            raise Unsupported(f"tensor {shown(name)} is not one that checkpoints of {self.architecture} have")
        found = known[pattern]
        if found is None or (layer and int(layer[1]) >= self.blocks(config)):
            return []
        prefix = f"blk.{int(layer[1])}." if layer else ""
        made = found if isinstance(found, tuple) else (found if isinstance(found, To) else To(found),)
        full = [replace(to, name=f"{prefix}{to.name}.{end}" if end and not to.bare else prefix + to.name, value=None if end == "bias" else to.value) for to in made]
        return [(to, int(number[0]) if number else None) for to in full]


def stem(name: str) -> str:
    """A tensor's name without what stands for wrappers around the text model, which differ from one saving to another."""
    return _PREFIX.sub("", name)


@functools.cache
def families() -> tuple[Family, ...]:
    """Every family. The folder is the registry: each module defines FAMILIES."""
    from quant.convert import families as folder

    modules = (importlib.import_module(f"{folder.__name__}.{m.name}") for m in pkgutil.iter_modules(folder.__path__))
    return tuple(family for m in modules for family in m.FAMILIES)


def family_of(config: Mapping[str, Any]) -> Family:
    """The family of a config.json. Unsupported, with the nearest one, where there is none."""
    text = config.get("text_config")
    kinds = [str(c["model_type"]) for c in (config, text) if isinstance(c, dict) and c.get("model_type")]
    classes = config.get("architectures")
    named = set(map(str, classes)) if isinstance(classes, list) else set()
    for kind in kinds:
        fitting = [f for f in families() if kind in f.model_types and (not f.classes or named & set(f.classes)) and (f.when is None or f.when(Config(config)))]
        if fitting:
            return max(fitting, key=lambda family: (bool(family.classes), family.when is not None))
    known = sorted({kind for family in families() for kind in family.model_types})
    if not kinds:
        raise Unsupported("config.json names no model_type, so nothing says what its tensors mean")
    nearest = difflib.get_close_matches(kinds[-1][:80], known, n=1, cutoff=0.0)[0]
    raise Unsupported(f"checkpoints with model_type {shown(kinds[-1])!a} cannot be converted; the nearest of {len(known)} that can is {nearest!a}")
