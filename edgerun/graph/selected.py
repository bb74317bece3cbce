"""A program that leaves the rows nobody asks for as early as it can: behind the last op that mixes rows. Knows no backend.

A prompt asks for the logits of its last row. What follows the last layer's attention works on each row by itself, so it is that row's
alone: of 30 layers with feed-forwards of three quarters of their weights, a fortieth of the prompt is never computed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from edgerun.graph import ops
from edgerun.graph.ops import Op, Select, Slices, View
from edgerun.graph.program import Program


def selected(program: Program) -> Program:
    """The program with its `Select` moved up; it becomes as many of them as there are buffers that the ops it passes have from before."""
    last = next(i for i, op in enumerate(program.ops) if isinstance(op, Select))
    first = 1 + max(i for i, op in enumerate(program.ops[:last]) if isinstance(op, ops.LOCATED))
    select, passed, after = program.ops[last], program.ops[first:last], program.ops[last + 1 :]
    assert isinstance(select, Select)
    assert select.x.start == select.out.start == 0, "a stream begins with its buffer"
    if not passed:
        return program
    before = _from_before((*passed, select))
    names = {buffer: f"{buffer}.selected" for buffer in before}
    widths = {name: program.buffers[buffer] for buffer, name in names.items()}
    x, out = names.get(select.x.buffer, select.x.buffer), select.out.buffer
    widths[x] = max(program.buffers[select.x.buffer], program.buffers[out])   # what was selected is the stream itself now
    selects = [Select(View(buffer, 0, width), View(names[buffer], 0, width)) for buffer, width in before.items()]
    moved = [_renamed(op, names) for op in passed] + [_renamed(op, names | {out: x}) for op in after]
    return dataclasses.replace(program, ops=(*program.ops[:first], *selects, *moved), buffers=program.buffers | widths)


def _from_before(passed: tuple[Op, ...]) -> dict[str, int]:
    """The buffers of which these ops read what none of them wrote, and how many columns of each that takes."""
    written: dict[str, int] = {}   # a bit for each column
    read: dict[str, int] = {}
    for op in passed:
        filled = "choice" if isinstance(op, ops.Route) else "out"
        places = dict(_places(op))
        for view in (view for name, place in places.items() if name != filled for view in _views(place)):
            if _columns(view) & ~written.get(view.buffer, 0):
                read[view.buffer] = max(read.get(view.buffer, 0), view.start + view.width)
        for view in _views(places[filled]):
            written[view.buffer] = written.get(view.buffer, 0) | _columns(view)
    return read


def _places(op: Op) -> Iterator[tuple[str, View | Slices]]:
    """What an op reads and writes, by the name of its field."""
    for field in dataclasses.fields(op):
        if isinstance(place := getattr(op, field.name), View | Slices):
            yield field.name, place


def _columns(view: View) -> int:
    """A bit for each."""
    return (1 << view.width) - 1 << view.start


def _views(place: View | Slices) -> list[View]:
    return place.views if isinstance(place, Slices) else [place]


def _renamed(op: Op, names: dict[str, str]) -> Op:
    """The op on buffers of other names."""

    def moved(view: View) -> View:
        return dataclasses.replace(view, buffer=names.get(view.buffer, view.buffer))

    places: dict[str, Any] = {
        name: moved(place) if isinstance(place, View) else dataclasses.replace(place, first=moved(place.first)) for name, place in _places(op)
    }
    return dataclasses.replace(op, **places)
