"""One tensor made of several: files from before April 2024 have a matrix for each expert, where later ones have a stack of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgerun.gguf.tensor import Tensor

if TYPE_CHECKING:
    import numpy as np

_EXPERT = re.compile(r"(blk\.\d+\.ffn_(?:gate|up|down))\.(0|[1-9]\d*)\.weight", re.ASCII)


@dataclass(frozen=True)
class Stack(Tensor):
    """Matrices of one shape and type, one behind the other; offset and file are those of the first."""

    parts: tuple[Tensor, ...] = field(repr=False, kw_only=True)

    @classmethod
    def of(cls, name: str, parts: tuple[Tensor, ...]) -> Stack:
        """The stack of these parts."""
        first = parts[0]
        return cls(name, (len(parts), *first.shape), first.type, len(parts) * first.nbytes, first.offset, first.file, parts=parts)

    @property
    def is_placed(self) -> bool:
        """Its matrices may lie anywhere."""
        return False

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start:stop of all matrices, as `Tensor.read` gives them."""
        import numpy as np

        stop = self.rows if stop is None else stop
        if not 0 <= start <= stop <= self.rows:
            raise ValueError(f"rows {start}:{stop} of {self.name}, which has {self.rows}")
        each = self.parts[0].rows
        pieces = [
            part.read(max(start - begin, 0), min(stop - begin, each))
            for begin, part in zip(range(0, self.rows, each), self.parts, strict=True)
            if start < begin + each and begin < stop
        ]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces or [self.parts[0].read(0, 0)])


def stacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, with a stack `blk.0.ffn_up_exps.weight` in place of `blk.0.ffn_up.0.weight` and the others of that layer.

    What makes no stack (numbers left out, shapes or types that differ) stays as it is.
    """
    found: dict[str, dict[int, Tensor]] = {}
    for name, tensor in tensors.items():
        if match := _EXPERT.fullmatch(name):
            found.setdefault(f"{match[1]}_exps.weight", {})[int(match[2])] = tensor
    stacks: dict[str, Tensor] = {}   # by the name of their first part
    inside: set[str] = set()
    for name, experts in found.items():
        parts = tuple(experts[i] for i in sorted(experts))
        alike = len({(part.shape, part.type) for part in parts}) == 1 and len(parts[0].shape) == 2
        if alike and name not in tensors and experts.keys() == set(range(len(parts))):
            stacks[parts[0].name] = Stack.of(name, parts)
            inside |= {part.name for part in parts}
    kept = (stacks.get(name, tensor) for name, tensor in tensors.items() if name in stacks or name not in inside)
    return {tensor.name: tensor for tensor in kept}
