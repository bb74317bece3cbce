"""Ops that work on each row by itself. What they compute is in `wgsl/map.wgsl` and its neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgerun.backends.gpu.layout import padded
from edgerun.backends.gpu.pipelines import NONE
from edgerun.backends.gpu.source import kernel
from edgerun.graph import ops

if TYPE_CHECKING:
    from edgerun.backends.gpu.recorder import Recorder

LANES = 64   # of a workgroup of most kernels
MANY = 16    # rows of a step from which on products take them in tiles, as floats
_Y = "a[p.y + row * p.y_stride + column * p.y_step]"
_WEIGHT = "vectors[p.vector + column]"


def mapped(r: Recorder, result: str, x: ops.View, out: ops.View, y: ops.View | None = None, *, numbers: tuple[float, ...] = (), vector: str | None = None) -> None:
    """out = result, a WGSL expression of x and what stands for y and the numbers u, v and s of p."""
    own = y or x
    values: dict[str, int | float] = {"y_step": int(own.width > 1 or out.width == 1), "width": out.width, "vector": r.vector(vector)}
    values |= dict(zip("uvs", (*numbers, 0.0, 0.0, 0.0), strict=False)) | r.places(x=x, y=own, out=out)
    r.add(kernel("map", parts=(("EXPRESSION", result),)), values, -(-out.width // LANES))


def copied(r: Recorder, x: ops.View, out: int) -> None:
    """The rows of x, one behind the other, from word `out` on."""
    values: dict[str, int | float] = {"y_step": 1, "out": out, "out_stride": padded(x.width), "width": x.width, "vector": NONE, "u": 0.0, "v": 0.0, "s": 0.0}
    r.add(kernel("map", parts=(("EXPRESSION", "x"),)), values | r.places(x=x, y=x), -(-x.width // LANES))


def gate(r: Recorder, op: ops.Gate) -> None:
    """The gate is as wide as up, or one column for all of it."""
    mapped(r, f"{op.activation}({_Y}) * x", op.up, op.out, op.gate)


def clamped_gate(r: Recorder, op: ops.ClampedGate) -> None:
    """Slope and limit are numbers of the dispatch."""
    text = f"min({_Y}, p.v) * sigmoid(p.u * min({_Y}, p.v)) * (clamp(x, -p.v, p.v) + 1.0)"
    mapped(r, text, op.up, op.out, op.gate, numbers=(op.slope, op.limit))


def activate(r: Recorder, op: ops.Activate) -> None:
    """One of the functions of `wgsl/functions.wgsl`."""
    mapped(r, f"{op.activation}(x)", op.x, op.out)


def add(r: Recorder, op: ops.Add) -> None:
    """Of two views of one width."""
    mapped(r, f"x + {_Y}", op.x, op.out, op.y)


def product(r: Recorder, op: ops.Product) -> None:
    """Of two views of one width."""
    mapped(r, f"x * {_Y}", op.x, op.out, op.y)


def scale_columns(r: Recorder, op: ops.ScaleColumns) -> None:
    """Each column by its weight."""
    mapped(r, f"x * {_WEIGHT}", op.x, op.out, vector=op.weight)


def scale(r: Recorder, op: ops.Scale) -> None:
    """By a number."""
    mapped(r, "x * p.u", op.x, op.out, numbers=(op.factor,))


def clamp(r: Recorder, op: ops.Clamp) -> None:
    """Between two numbers."""
    mapped(r, "clamp(x, -p.u, p.u)", op.x, op.out, numbers=(op.limit,))


def softcap(r: Recorder, op: ops.Softcap) -> None:
    """Bend into (-cap, cap)."""
    mapped(r, "p.u * bent(x / p.u)", op.x, op.out, numbers=(op.cap,))


def norm(r: Recorder, op: ops.Norm) -> None:
    """A workgroup for each group of columns."""
    width = op.x.width // op.groups
    lanes = 32 if width <= 128 else 256
    values: dict[str, int | float] = {"width": width, "own": width if op.own else 0, "eps": op.eps, "weight": r.vector(op.weight), "bias": r.vector(op.bias)}
    values |= r.places(x=op.x, out=op.out)
    r.add(kernel("norm", (("LANES", lanes), ("CENTRED", op.kind == "layer"))), values, op.groups)


def select(r: Recorder, op: ops.Select) -> None:
    """From here on rows are those asked for."""
    r.on_outputs = True
    values: dict[str, int | float] = {"width": op.out.width}
    r.add(kernel("select"), values | r.places(x=op.x, out=op.out), -(-op.out.width // LANES))


def hidden(r: Recorder, op: ops.Hidden) -> None:
    """Nothing is computed: a step may end here."""
    r.hidden, r.body = op.x, len(r.dispatches)


def embed(r: Recorder, op: ops.Embed) -> None:
    """The host looks rows up before a step."""
    assert not r.dispatches, "rows come in before anything is computed"
    r.embeddings.append(op)
