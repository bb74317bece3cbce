"""Normalisation with weights of the file."""

from __future__ import annotations

from typing import Literal

from edgerun.dataclass import dataclass
from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import View


@dataclass(frozen=True)
class Norm:
    """Normalisation with weights from the file, unless it is bare; kind as in `ops.Norm`."""

    kind: Literal["rms", "layer"]
    eps: float
    bare: bool = False

    def emit(self, b: Builder, x: View, out: View, name: str, groups: int = 1, own: bool = False) -> None:
        """Normalise each of `groups` equal parts of x, with tensor `name`.weight where there are weights; own: a row of it for each part."""
        assert not (self.bare and own), "a norm without weights has none of a group's own"
        shape = (groups, x.width // groups) if own else (x.width // groups,)
        full = name if b.has(name) else f"{name}.weight"   # Falcon-H1's converter leaves the suffix out of one
        weight = None if self.bare else b.weight(full, *shape)
        bias = b.optional(f"{name}.bias", *shape) if self.kind == "layer" and not self.bare else None
        b.add(ops.Norm(x, out, weight, self.eps, self.kind, groups, bias, own))
