"""Ops on streams side by side, row by row; their kernels are in `kernels/streams.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgerun.backends.cpu.phase import bits
from edgerun.graph import ops

if TYPE_CHECKING:
    from edgerun.backends.cpu.phases import Phases


def blend(p: Phases, op: ops.Blend) -> None:
    """Weighted sums of streams."""
    width = op.y.width // op.streams
    p.row("streams-blend", op.out, *p.at(op.x), *p.at(op.coefficients), *p.at(op.y), *p.at(op.out), width, op.x.width // width, op.streams, bits(op.plus))


def match(p: Phases, op: ops.Match) -> None:
    """The magnitude of another row."""
    p.row("streams-match", op.out, *p.at(op.x), *p.at(op.like), *p.at(op.out), op.x.width, bits(op.floor))
