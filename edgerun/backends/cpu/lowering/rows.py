"""Ops on each row by itself: links of a chain, whose kernels are in `kernels/row.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgerun.backends.cpu.phase import bits
from edgerun.graph import ops

if TYPE_CHECKING:
    from edgerun.backends.cpu.phases import Phases


def embed(p: Phases, op: ops.Embed) -> None:
    """The step itself looks embeddings up, before the phases run."""
    assert len(p.list) + len(p.chain) == 0, "embeddings come first"


def norm(p: Phases, op: ops.Norm) -> None:
    """Normalise groups of columns."""
    width = op.x.width // op.groups
    own = 4 * width if op.own else 0
    weight, bias = (p.vector(op.weight), own if op.weight else 0), (p.vector(op.bias), own if op.bias else 0)
    p.row(f"row-norm-{op.kind}", op.out, *p.at(op.x), *p.at(op.out), width, op.groups, *weight, *bias, bits(op.eps))


def rope(p: Phases, op: ops.Rope) -> None:
    """Rotate heads by the cosines and sines of the row, tables that a step fills once for each kind of rope."""
    table = p.turned(op)
    width = op.x.width // op.heads
    p.row(f"row-rope-{op.pairing}", op.x, *p.at(op.x), op.heads, width, len(op.frequencies), table.ctypes.data)


def temper(p: Phases, op: ops.Temper) -> None:
    """Multiply by the factor of the row, from a table that a step fills once for each kind of temperature."""
    key = (op.beta, op.length, op.offset)
    if key not in p.temper:
        p.temper[key] = p.scratch.floats(p.max_rows, 1)
    p.row("row-temper", op.x, *p.at(op.x), op.x.width, p.temper[key].ctypes.data)


def gate(p: Phases, op: ops.Gate) -> None:
    """Activate and multiply."""
    if op.gate.width < op.up.width:
        p.row(f"row-spread-{op.activation}", op.out, *p.at(op.gate), *p.at(op.up), *p.at(op.out), op.out.width)
        return
    p.row(f"row-gate-{op.activation}", op.out, *p.at(op.gate), *p.at(op.up), *p.at(op.out), op.out.width, 0)


def clamped_gate(p: Phases, op: ops.ClampedGate) -> None:
    """Bound and multiply."""
    p.row("row-clamped", op.out, *p.at(op.gate), *p.at(op.up), *p.at(op.out), op.out.width, bits(op.slope), bits(op.limit))


def activate(p: Phases, op: ops.Activate) -> None:
    """Activate each number."""
    a = op.activation
    if isinstance(a, ops.Xielu):
        p.row("row-xielu", op.out, *p.at(op.x), *p.at(op.out), op.out.width, *map(bits, (a.positive, a.negative, a.beta, a.eps)))
    else:
        _map(p, a, op.x, op.x, op.out)


def add(p: Phases, op: ops.Add) -> None:
    """Add."""
    _map(p, "add", op.x, op.y, op.out)


def product(p: Phases, op: ops.Product) -> None:
    """Multiply two views."""
    _map(p, "product", op.x, op.y, op.out)


def softplus(p: Phases, op: ops.Softplus) -> None:
    """Make positive; a bias is the same row again and again, and without one x is added 0 times."""
    y = (p.vector(op.bias), 0) if op.bias else p.at(op.x)
    p.row("row-map-softplus", op.out, *p.at(op.x), *y, *p.at(op.out), op.out.width, bits(1.0 if op.bias else 0.0))


def arrange(p: Phases, op: ops.Arrange) -> None:
    """Copy blocks of columns to other places."""
    assert op.x.buffer != op.out.buffer, "a block would be overwritten before it is read"
    p.row("row-arrange", op.out, *p.at(op.x), *p.at(op.out), op.block, len(op.order), *op.order)


def scale_columns(p: Phases, op: ops.ScaleColumns) -> None:
    """Multiply by a weight: the same vector for every row."""
    p.row("row-map-product", op.out, *p.at(op.x), p.vector(op.weight), 0, *p.at(op.out), op.out.width, 0)


def cutoff(p: Phases, op: ops.Cutoff) -> None:
    """Keep what sticks out."""
    p.row("row-cutoff", op.out, *p.at(op.x), *p.at(op.out), op.x.width, bits(op.deviations))


def scale(p: Phases, op: ops.Scale) -> None:
    """Multiply by a number."""
    _map(p, "scale", op.x, op.x, op.out, op.factor)


def copy(p: Phases, op: ops.Copy) -> None:
    """Copy slices."""
    p.row("copy", op.out.first, *p.at(op.x.first), *p.at(op.out.first), op.x.first.width, op.x.count, 4 * op.x.step, 4 * op.out.step)


def clamp(p: Phases, op: ops.Clamp) -> None:
    """Cut off at both ends."""
    _map(p, "clamp", op.x, op.x, op.out, op.limit)


def softcap(p: Phases, op: ops.Softcap) -> None:
    """Bend into a range."""
    _map(p, "softcap", op.x, op.x, op.out, op.cap)


def select(p: Phases, op: ops.Select) -> None:
    """Copy the rows that are asked for; from here on, rows are those."""
    assert op.x.buffer != op.out.buffer, "a chunk would overwrite rows that another one has yet to read"
    if not p.on_outputs:
        p.flush()
    p.on_outputs = True
    p.row("row-select", op.out, *p.at(op.x), *p.at(op.out), op.x.width, p.frame)


def hidden(p: Phases, op: ops.Hidden) -> None:
    """Nothing to compute: a step that is asked for hidden rows leaves out the phases behind the one that makes them."""
    p.hidden, p.body = p.buffer(op.x), len(p.list) + bool(p.chain)


def _map(p: Phases, name: str, x: ops.View, y: ops.View, out: ops.View, factor: float = 0.0) -> None:
    p.row(f"row-map-{name}", out, *p.at(x), *p.at(y), *p.at(out), out.width, bits(factor))
