"""A mixture of experts: which of them a row goes to, their products, their sum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgerun.backends.gpu.lowering.linear import matvec, operand, operands
from edgerun.backends.gpu.lowering.rows import LANES, mapped
from edgerun.backends.gpu.pipelines import NONE, whole
from edgerun.backends.gpu.source import kernel
from edgerun.formats.packing import ROWS
from edgerun.graph import ops

if TYPE_CHECKING:
    from edgerun.backends.gpu.recorder import Recorder


def route(r: Recorder, op: ops.Route) -> None:
    """A workgroup for each row."""
    count = op.logits.width
    source = kernel("route", (("COUNT", count), ("SOFTMAX", op.gating == "softmax")))
    values: dict[str, int | float] = {
        "count": count, "used": op.used, "bias": r.vector(op.bias), "factors": r.vector(op.factors), "scale": op.scale, "floor": op.normalise or 0.0,
        "normalised": int(op.normalise is not None),
    }  # fmt: skip
    r.add(source, values | r.places(x=op.logits, out=op.choice), 1)


def experts(r: Recorder, op: ops.Experts) -> None:
    """A workgroup for 16 rows of the matrix that a slot of a row chose."""
    start, x = 0, operand(r, op)
    for name, bias in zip(op.weights, op.biases, strict=True):
        matrix = r.matrices[name,]
        width = op.used * matrix.rows
        values = operands(r, matrix) | x.values | x.places(r, y=op.out.part(start, width), choice=op.choice)
        values |= {"x_slot": 0 if op.x.width == op.cols else op.cols, "y_slot": matrix.rows, "bias": r.vector(bias), "size": matrix.words}
        source = matvec(matrix.packing, 1, stack=True)
        for piece in matrix.pieces:
            own = values | {"first": piece.first, "count": piece.count}
            r.add(source, own, -(-matrix.rows // ROWS), z=op.used, own=x.bound | {4: whole(piece.buffer)}, macs=width * matrix.cols)
        start += width


def weigh(r: Recorder, op: ops.Weigh) -> None:
    """Each slot times its weight."""
    used = op.choice.width // 2
    for i in range(used):
        width = op.x.width // used
        x, out = op.x.part(i * width, width), op.out.part(i * width, width)
        mapped(r, "x * a[p.y + row * p.y_stride]", x, out, op.choice.part(used + i, 1))


def mix(r: Recorder, op: ops.Mix) -> None:
    """The slots added up."""
    values: dict[str, int | float] = {"width": op.out.width, "slots": op.x.width // op.out.width}
    for name, view in (("weights", op.choice and op.choice.part(op.choice.width // 2, op.choice.width // 2)), ("residual", op.residual)):
        values[name], values[f"{name}_stride"] = r.layout.at(view) if view else (NONE, 0)
    r.add(kernel("mix"), values | r.places(x=op.x, out=op.out), -(-op.out.width // LANES))
