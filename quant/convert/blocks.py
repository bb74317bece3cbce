"""Matrices of GPTQ and AWQ as blocks of a model file that hold the very same numbers, where there are such. Knows no checkpoint's names.

A weight is d * k with k = q - zero. Q4_0 holds k from -8 to 7, Q5_0 from -16 to 15, Q8_0 from -128 to 127, in each block of 32 with a
scale d in F16; Q4_1 holds d * q + m, with m = -zero * d in F16 too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from edgerun.formats import by_name
from edgerun.formats.q5_0 import five_bit_bytes
from quant.convert.checkpoint import Stored
from quant.convert.grouped import Grouped

_BLOCK = 32
_SIGNED = {"Q4_0": 8, "Q5_0": 16, "Q8_0": 128}   # k is from minus this number to below it
TYPES = {"Q4_0": 2, "Q4_1": 3, "Q5_0": 8, "Q8_0": 7}   # smallest first, with the number of such a file (llama.h, enum llama_ftype)


@dataclass(frozen=True)
class Blocks(Stored):
    """A matrix of weights, read as blocks of the type that `dtype` names."""

    source: Grouped

    @property
    def parts(self) -> tuple[Stored, ...]:
        """Those of the matrix."""
        return self.source.parts

    @property
    def floats(self) -> bool:
        """It holds numbers that a file can hold as they are."""
        return True

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start..stop, uint8 [rows, bytes]."""
        rows = slice(start, self.shape[0] if stop is None else stop)
        group = self.source.groups()[::_BLOCK]
        d, zero = self.source.factors()[group, rows].T, self.source.zeros()[group, rows].T
        q = self.source.codes(rows).reshape(*d.shape, _BLOCK)
        heads = [d.astype("<f2")] if self.dtype != "Q4_1" else [d.astype("<f2"), (-zero * d).astype("<f2")]
        if self.dtype != "Q4_1":
            q = (q - zero[..., None] + (0 if self.dtype == "Q8_0" else _SIGNED[self.dtype])).astype(np.int8).view(np.uint8)
        codes = q if self.dtype == "Q8_0" else five_bit_bytes(q) if self.dtype == "Q5_0" else q[..., :16] | q[..., 16:] << 4
        return np.concatenate([*(np.ascontiguousarray(head)[..., None].view(np.uint8) for head in heads), codes], -1).reshape(len(d), -1)


def as_blocks(matrix: Grouped, kind: str) -> Blocks:
    """The matrix in a type that holds it exactly."""
    assert by_name(kind).block == _BLOCK
    return Blocks(matrix.name, kind, matrix.shape, matrix.file, matrix.start, matrix.nbytes, matrix)


def common(matrices: Iterable[Grouped]) -> tuple[str | None, str]:
    """The smallest type that holds all of them exactly, or None and why there is none."""
    held, why = set(TYPES), ""
    for matrix in matrices:
        types, reason = _holding(matrix)
        held, why = held & types, why or reason
    return next((kind for kind in TYPES if kind in held), None), why


def _holding(matrix: Grouped) -> tuple[set[str], str]:
    """The types that hold a matrix exactly, and why it is none."""
    group, d, zeros = matrix.groups(), matrix.factors(), matrix.zeros()
    if matrix.shape[1] % _BLOCK:
        return set(), f"rows of {matrix.shape[1]} do not fill blocks of {_BLOCK}"
    if (group.reshape(-1, _BLOCK) != group[::_BLOCK, None]).any():
        return set(), "columns that lie together are of different groups (desc_act)"
    if not _halves(d):
        return set(), "their scales are no F16"
    low, high = -int(zeros.max()), (1 << matrix.form.bits) - 1 - int(zeros.min())
    types = {kind for kind, most in _SIGNED.items() if -most <= low and high < most}
    if matrix.form.bits <= 4 and _halves(-zeros * d):
        types.add("Q4_1")
    return types, "" if types else "their zeros lie too far from the middle"


def _halves(x: np.ndarray) -> bool:
    """Whether F16 holds all of these numbers."""
    with np.errstate(over="ignore"):
        return bool((x.astype(np.float16) == x).all())
