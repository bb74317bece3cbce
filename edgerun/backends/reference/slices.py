"""The float64 twins of the ops over slices of columns: `HeadLinear` and `Copy`."""

from __future__ import annotations

from edgerun.backends.reference.step import Step
from edgerun.graph import ops


def head_linear(op: ops.HeadLinear, step: Step) -> None:
    """A matrix for each slice."""
    for x, out, matrix in zip(op.x.views, op.out.views, step.weight(op.weight), strict=True):
        step.put(out, step.get(x) @ matrix.T)


def copy(op: ops.Copy, step: Step) -> None:
    """Slice by slice."""
    for x, out in zip(op.x.views, op.out.views, strict=True):
        step.put(out, step.get(x))
