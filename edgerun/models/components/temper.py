"""Queries that grow with their position, so that attention stays sharp over long texts."""

from __future__ import annotations

from dataclasses import dataclass

from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import View


@dataclass(frozen=True)
class Temper:
    """x * (1 + scale * ln(1 + floor((position + offset) / length))) (arXiv:2501.19399)."""

    scale: float
    length: int
    offset: int = 0

    def emit(self, b: Builder, x: View) -> None:
        """Scale in place."""
        b.add(ops.Temper(x, x, self.scale, self.length, self.offset))
