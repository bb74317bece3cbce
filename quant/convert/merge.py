"""An adapter folded into its checkpoint: tensors that are read as the sum of both. Knows no model file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgerun.errors import ModelError, Unsupported
from edgerun.gguf.file import shown
from quant.convert.checkpoint import Stored, as_floats
from quant.convert.config import Config
from quant.convert.family import Family, stem
from quant.convert.lora import turns
from quant.convert.peft import Factors, Peft
from quant.convert.plan import tied

Merge = tuple[Peft, float]   # an adapter, and what its scale is multiplied by


@dataclass(frozen=True)
class Delta:
    """left [rows, rank], with the scale, and right [rank, cols], whose product is added; magnitude: how long rows are then to be."""

    left: np.ndarray
    right: np.ndarray
    magnitude: np.ndarray | None = None

    def add(self, values: np.ndarray, rows: slice) -> None:
        """Change these rows of the matrix, in place."""
        values += self.left[rows] @ self.right
        if self.magnitude is not None:
            lengths = np.linalg.norm(values, axis=1)
            values *= np.divide(self.magnitude[rows], lengths, out=np.zeros_like(lengths), where=lengths > 0)[:, None]


@dataclass(frozen=True)
class Sum(Stored):
    """A matrix with some changes, one after another, as float32."""

    base: Stored
    deltas: tuple[Delta, ...]

    @property
    def parts(self) -> tuple[Stored, ...]:
        """Those of the matrix that is changed."""
        return self.base.parts

    @property
    def held(self) -> tuple[np.ndarray, ...]:
        """The changes."""
        return tuple(array for delta in self.deltas for array in (delta.left, delta.right, delta.magnitude) if array is not None)

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start..stop."""
        values = as_floats(self.base.read(start, stop), self.base.dtype)
        for delta in self.deltas:
            delta.add(values, slice(start, stop))
        return values


def merged(tensors: Mapping[str, Stored], merges: Sequence[Merge], family: Family, config: Config) -> dict[str, Stored]:
    """The tensors with the adapters in them. ModelError where one does not fit the checkpoint."""
    result = dict(tensors)
    names = {stem(name): name for name in tensors}
    for peft, scale in merges:
        for name, stored in (peft.copies | peft.replaced).items():
            full = _name(peft, name, names)
            if stored.shape != result[full].shape:
                raise Unsupported(f"{peft.name}: has {shown(name)} of shape {list(stored.shape)}, the model has {list(result[full].shape)}; merge it with PEFT and convert the result")
            result[full] = replace(stored, name=full)
        for factors in peft.factors.values():
            full = _name(peft, factors.name, names)
            if factors.table and not _has_output(tensors, family, config):
                raise Unsupported(f"{peft.name}: adapts the token table, which is the output matrix too, and would change with it; apply it with --lora instead")
            result[full] = _sum(peft, factors, scale, result[full], family, config)
    return result


def _has_output(tensors: Mapping[str, Stored], family: Family, config: Config) -> bool:
    """Whether the output matrix is another one than the token table."""
    return any(to.name == "output.weight" for name in tensors if not tied(name, config) for to, _ in family.targets(name, config))


def _name(peft: Peft, name: str, names: Mapping[str, str]) -> str:
    if stem(name) not in names:
        raise ModelError(f"{peft.name}: changes {shown(name)}, which the checkpoint does not have; it was made for another one")
    return names[stem(name)]


def _sum(peft: Peft, factors: Factors, scale: float, base: Stored, family: Family, config: Config) -> Stored:
    targets = family.targets(base.name, config)
    turned = any(turns(to, factors, config) for to, _ in targets)
    left, right = factors.sides(turned)
    if not base.floats or (len(left), right.shape[1]) != base.shape:
        raise ModelError(f"{peft.name}: adapts a {shown(factors.name)} of shape {[len(left), right.shape[1]]}; the checkpoint's is {base.dtype} of {list(base.shape)}")
    if factors.magnitude and turned:
        raise Unsupported(f"{peft.name}: is a DoRA of {shown(factors.name)}, which the checkpoint has transposed; merge it with PEFT and convert the result")
    magnitude = as_floats(factors.magnitude.read(), factors.magnitude.dtype).reshape(-1) if factors.magnitude else None
    delta = Delta(left * np.float32(scale * factors.scale), right, magnitude)
    before, earlier = (base.base, base.deltas) if isinstance(base, Sum) else (base, ())
    return Sum(base.name, "F32", base.shape, base.file, base.start, base.nbytes, before, (*earlier, delta))
