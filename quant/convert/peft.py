"""A folder that PEFT saved: adapter_config.json and adapter_model.safetensors. Knows PEFT's names and scales; no family, no model file.

What is there for a matrix W [rows, cols] of the checkpoint is lora_A [rank, cols] and lora_B [rows, rank]; W becomes W + scale * B A, with
scale = alpha / rank, or alpha / sqrt(rank) (arXiv:2106.09685, 2312.03732; huggingface.co/docs/peft). Of a table of embeddings it is
lora_embedding_A [rank, rows] and lora_embedding_B [cols, rank]. With lora_magnitude_vector [rows], rows of the sum are then given these
lengths (DoRA, arXiv:2402.09353). Everything here is untrusted, as a checkpoint is.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgerun.errors import ModelError, Unsupported, UsageError
from edgerun.gguf.file import File, shown
from quant.convert.checkpoint import Stored, as_floats, json_file, tensors_of

CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_MOST_RANK = 1 << 16
_LARGEST = 1e6   # of a scale
_HALF = re.compile(r"(.+)\.lora_(?:(A|B)\.(?:[^.]+\.)?weight|embedding_(A|B)(?:\.[^.]+)?)")
_MAGNITUDE = re.compile(r"(.+)\.lora_magnitude_vector(?:\.[^.]+){0,2}")
_SAVED = re.compile(r"\.(modules_to_save(?:\.default)?|base_layer)(?=\.(?:weight|bias)$)")
# What makes more of a pair than W + B A, or puts it elsewhere.
_OTHERWISE = ("layer_replication", "alora_invocation_tokens", "trainable_token_indices", "lora_bias", "use_qalora", "arrow_config")


@dataclass(frozen=True)
class Factors:
    """What is added to the checkpoint's `name`: scale * B A. table: whether they are of embeddings, and so the other way round;
    magnitude: how long the rows of the sum are to be, None for as they are.
    """

    name: str
    a: Stored
    b: Stored
    table: bool
    scale: float
    magnitude: Stored | None = None

    @property
    def rank(self) -> int:
        """Rows of A."""
        return self.a.shape[0]

    def sides(self, turned: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """left [rows, rank] and right [rank, cols], float32 without the scale, whose product is added; turned: where the checkpoint has
        the matrix as [inputs, outputs].
        """
        a, b = (as_floats(each.read(), each.dtype) for each in (self.a, self.b))
        return (a.T, b.T) if self.table or turned else (b, a)


class Peft:
    """An open adapter folder. factors: by the name of the tensor they change; replaced: tensors that take the place of the checkpoint's;
    copies: those that are there although they were not trained, as PEFT saves tables of embeddings.
    """

    def __init__(self, folder: Path) -> None:
        """Open it. UsageError when it is none; ModelError when it is incomplete or damaged, Unsupported for what is more than W + B A."""
        self.folder, self.name = folder, shown(str(folder), 1000)
        if not (folder / CONFIG).is_file():
            raise UsageError(f"{self.name}: is not a folder with {CONFIG} and {_WEIGHTS}")
        self.config = json_file(folder / CONFIG)
        self._check()
        if not (folder / _WEIGHTS).exists():
            pickled = " (adapter_model.bin is a pickle, which can run code when it is read)" if (folder / "adapter_model.bin").exists() else ""
            raise ModelError(f"{self.name}: has no {_WEIGHTS}{pickled}; save the adapter as safetensors")
        file = File(folder / _WEIGHTS)
        self._open = contextlib.ExitStack()
        self._open.callback(file.close)
        try:
            self.factors, self.replaced, self.copies = self._sorted({tensor.name: tensor for tensor in tensors_of(file)})
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close its file."""
        self._open.close()

    def __enter__(self) -> Peft:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self) -> None:
        kind = self.config.get("peft_type")
        if kind != "LORA":
            raise Unsupported(f"{self.name}: is an adapter of type {shown(str(kind))}; LORA ones are converted")
        if named := next((key for key in _OTHERWISE if self.config.get(key)), None):
            raise Unsupported(f"{self.name}: {CONFIG} sets {named}, which is more than a product of two matrices; merge it with PEFT and convert the result")

    def _sorted(self, tensors: Mapping[str, Stored]) -> tuple[dict[str, Factors], dict[str, Stored], dict[str, Stored]]:
        """Pairs, whole tensors and copies, by the checkpoint's names."""
        halves: dict[str, dict[str, Stored]] = {}
        replaced: dict[str, Stored] = {}
        copies: dict[str, Stored] = {}
        for full, tensor in tensors.items():
            name = full.removeprefix("base_model.model.")
            if match := _HALF.fullmatch(name):
                halves.setdefault(f"{match[1]}.weight", {})[match[2] or f"table {match[3]}"] = tensor
            elif match := _MAGNITUDE.fullmatch(name):
                halves.setdefault(f"{match[1]}.weight", {})["magnitude"] = tensor
            elif "lora_" in name or not name.endswith((".weight", ".bias")):
                raise Unsupported(f"{self.name}: tensor {shown(full)} is not of a plain LoRA; merge the adapter with PEFT and convert the result")
            else:
                (copies if ".base_layer." in name else replaced)[_SAVED.sub("", name)] = tensor
        if not halves:
            raise ModelError(f"{self.name}: has no pairs of lora_A and lora_B")
        return {name: self._factors(name, found) for name, found in halves.items()}, replaced, copies

    def _factors(self, name: str, found: Mapping[str, Stored]) -> Factors:
        table = "table A" in found
        a, b = (found.get(f"table {side}" if table else side) for side in "AB")
        magnitude = found.get("magnitude")
        if a is None or b is None or len(found) > 2 + (magnitude is not None):
            raise ModelError(f"{self.name}: {shown(name)} has not one lora_A and one lora_B")
        for half in (a, b):
            if not half.floats or len(half.shape) != 2 or 0 in half.shape:
                raise ModelError(f"{self.name}: tensor {shown(half.name)} is {half.dtype} of shape {list(half.shape)}, not a matrix of floats")
        rank = a.shape[0]
        if b.shape[1] != rank or rank > _MOST_RANK:
            raise ModelError(f"{self.name}: {shown(name)} has lora_A {list(a.shape)} and lora_B {list(b.shape)}, which have no rank in common")
        if (magnitude is None) == (self.config.get("use_dora") is True) or (magnitude and (table or not magnitude.floats or math.prod(magnitude.shape) != b.shape[0])):
            raise ModelError(f"{self.name}: {shown(name)} has no lora_magnitude_vector that fits it and the use_dora of {CONFIG}")
        alpha = self._alpha(name.removesuffix(".weight"))
        return Factors(name, a, b, table, alpha / math.sqrt(rank) if self.config.get("use_rslora") is True else alpha / rank, magnitude)

    def _alpha(self, module: str) -> float:
        """lora_alpha of a module: that of the first pattern that is the end of its name, else that of all."""
        patterns = self.config.get("alpha_pattern") or {}
        if not isinstance(patterns, dict):
            raise ModelError(f"{self.name}: {CONFIG} has an alpha_pattern that is no object")
        for pattern, alpha in patterns.items():
            if not re.fullmatch(r"\^?[\w.]+\$?", pattern, re.ASCII):
                raise Unsupported(f"{self.name}: {CONFIG} has the pattern {shown(pattern)!a} in alpha_pattern; only names are understood")
            plain = pattern.strip("^$")
            if module == plain or (not pattern.startswith("^") and module.endswith(f".{plain}")):
                return self._number("alpha_pattern", alpha)
        return self._number("lora_alpha", self.config.get("lora_alpha"))

    def _number(self, key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < abs(value) <= _LARGEST:
            raise ModelError(f"{self.name}: {CONFIG} has {shown(repr(value))} for {key}, not a number other than 0 and up to {_LARGEST:g}")
        return float(value)
