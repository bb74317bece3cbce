"""A program that also keeps what its matrices are multiplied with, so that it can be measured. Knows no backend and no measure."""

from __future__ import annotations

import dataclasses

from edgerun.dataclass import dataclass
from edgerun.graph.ops import Copy, Experts, HeadLinear, Linear, Op, Slices, View
from edgerun.graph.program import Program


@dataclass(frozen=True)
class Tap:
    """A copy of what the matrices `weights` are multiplied with, left as it is until the next step.

    x: one input, or, for a stack, one for each matrix, side by side. choice: where only some matrices of a stack are chosen, their numbers;
    x then holds one input for each of these, or one for all.
    """

    weights: tuple[str, ...]
    x: View
    choice: View | None = None


def tapped(program: Program) -> tuple[Program, tuple[Tap, ...]]:
    """The program with a copy before each product, into buffers of its own that nothing else writes."""
    ops: list[Op] = []
    taps: list[Tap] = []
    buffers = dict(program.buffers)

    def keep(view: View, count: int = 1, step: int | None = None) -> View:
        """A copy of `count` slices as wide as `view`, `step` columns apart, one behind the other."""
        out = View(f"tap.{len(buffers)}", 0, count * view.width)
        buffers[out.buffer] = out.width
        ops.append(Copy(Slices(view, count, view.width if step is None else step), out.slices(count, view.width)))
        return out

    for op in program.ops:
        if isinstance(op, Linear):
            taps.append(Tap(op.weights, keep(op.x)))
        elif isinstance(op, HeadLinear):
            taps.append(Tap(op.weights, keep(op.x.first, op.x.count, op.x.step)))
        elif isinstance(op, Experts):
            taps.append(Tap(op.weights, keep(op.x), choice=keep(op.choice.part(0, op.used))))
        ops.append(op)
    return dataclasses.replace(program, ops=tuple(ops), buffers=buffers), tuple(taps)
