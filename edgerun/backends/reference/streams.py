"""The float64 twins of the ops on streams side by side: `Blend` and `Match`."""

from __future__ import annotations

import numpy as np

from edgerun.backends.reference.step import Step
from edgerun.graph import ops


def blend(op: ops.Blend, step: Step) -> None:
    """Add to each stream of y all streams of x, each times its coefficient."""
    y = step.get(op.y).reshape(step.rows, op.streams, -1)
    x = step.get(op.x).reshape(step.rows, -1, y.shape[2])
    coefficients = step.get(op.coefficients).reshape(step.rows, op.streams, x.shape[1]) + op.plus
    step.put(op.out, y + coefficients @ x)


def match(op: ops.Match, step: Step) -> None:
    """Bring the root mean square of each row to that of another."""
    x, like = step.get(op.x), step.get(op.like)
    want, have = (like**2).mean(-1, keepdims=True), np.maximum((x**2).mean(-1, keepdims=True), op.floor)
    step.put(op.out, x * np.sqrt(want / have))
