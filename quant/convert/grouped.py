"""Checkpoints of whole numbers of 2, 4 or 8 bits, with a scale and a zero for each group of inputs: those of GPTQ and AWQ.

A matrix W [outputs, inputs] is W[o, i] = scales[g, o] * (q[i, o] - zeros[g, o]) with g the group of input i, and is stored as

    scales   floats [groups, outputs]
    qzeros   i32 [groups, outputs * bits / 32]: the zeros of 32 / bits outputs in one number, the first in its lowest bits
    qweight  GPTQ: i32 [inputs * bits / 32, outputs]: q of 32 / bits inputs in one number, likewise
             AWQ:  i32 [inputs, outputs / 8]: q of 8 outputs in one number, those of even outputs first, as in its qzeros
    g_idx    GPTQ: i32 [inputs]: the group of each input; where there is none, groups are so many inputs each

GPTQ's first form (checkpoint_format gptq) has zeros less 1, modulo the bits; gptq_v2 as they are. The layouts are those of
https://github.com/AutoGPTQ/AutoGPTQ/blob/v0.7.1/auto_gptq/nn_modules/qlinear/qlinear_cuda_old.py and
https://github.com/casper-hansen/AutoAWQ/blob/main/awq/modules/linear/gemm.py. Everything is untrusted. Knows no model file.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgerun.errors import ModelError, Unsupported
from edgerun.gguf.file import shown
from quant.convert.checkpoint import Stored, as_floats

METHODS = ("gptq", "awq")
_PARTS = ("qweight", "qzeros", "scales", "g_idx")
_AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)   # which output lies in the first, second ... bits


@dataclass(frozen=True)
class Form:
    """How a checkpoint is stored. bits: of a number; group: inputs of one, 0 for all; offset: what has to be added to zeros."""

    method: str
    bits: int
    group: int
    offset: int = 0

    @classmethod
    def of(cls, quantization: Mapping[str, Any]) -> Form:
        """As quantization_config has it. Unsupported for a form that is not known here."""
        method, bits = str(quantization.get("quant_method")).lower(), quantization.get("bits", quantization.get("w_bit"))
        group = quantization.get("group_size", quantization.get("q_group_size", 128))
        what = (quantization.get("version") or "gemm") if method == "awq" else (quantization.get("checkpoint_format") or "gptq")
        known = {"awq": {"gemm": 0}, "gptq": {"gptq": 1, "gptq_v2": 0}}[method]
        what = "marlin" if quantization.get("is_marlin_format") is True else what
        if not isinstance(what, str) or what.lower() not in known or quantization.get("pack_dtype", "int32") != "int32":
            raise Unsupported(f"config.json: {method} weights of the form {shown(str(what))!a} are not known; {' and '.join(known)} are: convert the original instead")
        if type(bits) is not int or bits not in ((4,) if method == "awq" else (2, 4, 8)):
            raise Unsupported(f"config.json: {method} weights of {shown(str(bits))} bits cannot be converted; convert the original instead")
        if type(group) is not int or not (group == -1 or 0 < group < 1 << 31):
            raise ModelError(f"config.json: quantization_config has the group_size {shown(str(group))}, not a whole number")
        return cls(method, bits, max(group, 0), known[what.lower()])

    @property
    def each(self) -> int:
        """Numbers in 32 bits."""
        return 32 // self.bits

    def unpacked(self, words: np.ndarray, axis: int) -> np.ndarray:
        """uint8 of int32 [rows, columns], whose words become `each` numbers along the axis."""
        shifts = np.arange(0, 32, self.bits, dtype=np.uint32)
        order = np.argsort(_AWQ_ORDER) if self.method == "awq" else slice(None)
        shape = [*words.shape]
        shape[axis] *= self.each
        by = shifts[order][:, None] if axis == 0 else shifts[order]
        return (np.expand_dims(words.view(np.uint32), axis + 1) >> by & np.uint32((1 << self.bits) - 1)).astype(np.uint8).reshape(shape)


@dataclass(frozen=True)
class Grouped(Stored):
    """Such a matrix, read as float32 [outputs, inputs], which holds its numbers exactly; shape in weights."""

    form: Form
    scales: Stored
    qzeros: Stored
    g_idx: Stored | None

    @property
    def parts(self) -> tuple[Stored, ...]:
        """The numbers, their scales and zeros, and where their groups are."""
        return (self, self.scales, self.qzeros, *((self.g_idx,) if self.g_idx else ()))

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start..stop."""
        rows = slice(start, self.shape[0] if stop is None else stop)
        groups = self.groups()
        values = self.codes(rows).astype(np.float32)
        values -= self.zeros()[groups, rows].T
        values *= self.factors()[groups, rows].T
        return values

    def codes(self, rows: slice) -> np.ndarray:
        """q: uint8 [outputs, inputs] of some outputs, contiguous."""
        words = _whole(Stored(self.name, "I32", self._packed_shape, self.file, self.start, self.nbytes))
        if self.form.method == "gptq":
            return np.ascontiguousarray(self.form.unpacked(np.ascontiguousarray(words[:, rows]), 0).T)
        first = rows.start // self.form.each
        some = self.form.unpacked(np.ascontiguousarray(words[:, first : -(-rows.stop // self.form.each)]), 1)
        return np.ascontiguousarray(some[:, rows.start - first * self.form.each :][:, : rows.stop - rows.start].T)

    def zeros(self) -> np.ndarray:
        """int16 [groups, outputs]."""
        return self.form.unpacked(_whole(self.qzeros), 1).astype(np.int16) + self.form.offset & (1 << self.form.bits) - 1

    def factors(self) -> np.ndarray:
        """The scales, float32 [groups, outputs]."""
        return as_floats(_whole(self.scales), self.scales.dtype)

    def groups(self) -> np.ndarray:
        """The group of each input."""
        if self.g_idx is not None:
            return _whole(self.g_idx).astype(np.intp)
        return np.arange(self.shape[1]) // (self.form.group or self.shape[1])

    def check(self) -> None:
        """ModelError where groups or scales make no sense."""
        groups = self.groups()
        if groups.size and not 0 <= groups.min() <= groups.max() < self.scales.shape[0]:
            raise ModelError(f"{self.file.name}: {shown(self.name)} has inputs of group {groups.max() if groups.min() >= 0 else groups.min()}, and {self.scales.shape[0]} groups")
        if not np.isfinite(self.factors()).all():
            raise ModelError(f"{self.file.name}: {shown(self.name)} has a scale that is not finite; download it again")

    @property
    def _packed_shape(self) -> tuple[int, int]:
        outputs, inputs = self.shape
        return (inputs // self.form.each, outputs) if self.form.method == "gptq" else (inputs, outputs // self.form.each)


@functools.lru_cache(maxsize=8)
def _whole(stored: Stored) -> np.ndarray:
    """All of a tensor, of which columns are wanted a slice after another."""
    return stored.read()


def grouped(tensors: Mapping[str, Stored], form: Form) -> dict[str, Stored]:
    """The tensors of a checkpoint with each such matrix as one, NAME.weight. ModelError for shapes that do not belong together."""
    result = {name: stored for name, stored in tensors.items() if name.rpartition(".")[2] not in _PARTS}
    for name in [name for name in tensors if name.endswith(".qweight")]:
        module = name.removesuffix(".qweight")
        result[f"{module}.weight"] = _matrix(module, tensors, form)
    for name in tensors:
        if f"{name.rpartition('.')[0]}.weight" not in result and name.rpartition(".")[2] in _PARTS:
            raise ModelError(f"tensor {shown(name)} belongs to no qweight; the checkpoint is incomplete")
    return result


def _matrix(module: str, tensors: Mapping[str, Stored], form: Form) -> Grouped:
    weight, zeros, scales, index = (tensors.get(f"{module}.{part}") for part in _PARTS)
    if zeros is None or scales is None:
        raise ModelError(f"tensor {shown(module)}.qweight has no qzeros or no scales beside it; the checkpoint is incomplete")
    assert weight is not None
    index = index if form.method == "gptq" else None
    whole = [each for each in (weight, zeros, index) if each is not None]
    if any(each.dtype != "I32" for each in whole) or not scales.floats or any(len(each.shape) != 2 or 0 in each.shape for each in (weight, zeros, scales)):
        raise ModelError(f"tensor {shown(module)}.qweight and those beside it are {', '.join(f'{t.dtype} {list(t.shape)}' for t in (*whole, scales))}; this is no {form.method} matrix")
    outputs = weight.shape[1] * (1 if form.method == "gptq" else form.each)
    inputs = weight.shape[0] * (form.each if form.method == "gptq" else 1)
    groups = scales.shape[0]
    wanted = (groups, outputs // form.each)
    expected = groups if index is not None else -(-inputs // (form.group or inputs))
    if scales.shape[1] != outputs or zeros.shape != wanted or outputs % form.each or groups != expected or (index is not None and index.shape != (inputs,)):
        shapes = {"qweight": weight, "qzeros": zeros, "scales": scales, "g_idx": index}
        told = ", ".join(f"{part} {list(each.shape)}" for part, each in shapes.items() if each is not None)
        raise ModelError(f"tensor {shown(module)} has {told}, which do not belong together with {form.bits} bits in groups of {form.group or 'all'}")
    made = Grouped(f"{module}.weight", "F32", (outputs, inputs), weight.file, weight.start, weight.nbytes, form, scales, zeros, index)
    made.check()
    return made
