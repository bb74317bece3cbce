"""Products with matrices: which kernel for how many rows, and where its operands lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgerun.backends.gpu import frame
from edgerun.backends.gpu.joining import joined
from edgerun.backends.gpu.layout import quantized_words
from edgerun.backends.gpu.lowering.rows import MANY
from edgerun.backends.gpu.pipelines import NONE
from edgerun.backends.gpu.source import Source, kernel, text_of
from edgerun.backends.gpu.weights import Matrix
from edgerun.formats.packing import ROWS, Packing
from edgerun.graph import ops

if TYPE_CHECKING:
    from edgerun.backends.gpu.recorder import Recorder

LANES = 256   # of a workgroup: 16 rows and 16 shares of the columns
FEW = 4       # rows of a step that share what is read of a matrix
TILE = 64     # rows of the matrix, and of the step, in a tile
SIDE = 4      # sums of a lane, in both directions


def matvec(packing: Packing, tokens: int, fast: bool, stack: bool = False) -> Source:
    """The kernel for few rows."""
    constants = (("LANES", LANES), ("SPLITS", LANES // ROWS), ("TOKENS", tokens), ("STACK", stack), ("ALIGNED", 1 if fast else 4))
    return kernel("matvec", constants, packing, (("PRODUCTS", text_of("fast" if fast else "exact")),))


def linear(r: Recorder, op: ops.Linear) -> None:
    """One matrix after another, those that are one together, each with its rows of the result."""
    start = 0
    for names, bias in joined(op, r.tensors):
        matrix = r.matrices[names]
        for piece in matrix.pieces:
            first, last = piece.first * ROWS, min(matrix.rows, (piece.first + piece.count) * ROWS)
            out = op.out.part(start + first, last - first)
            values = operands(r, matrix, op.x, out)
            values |= {"rows": last - first, "bias": NONE if bias is None else r.vectors(bias) + first}
            if op.residual:
                values["residual"], values["residual_stride"] = r.layout.at(op.residual.part(start + first, last - first))
            products(r, matrix, op.x, values, piece.count, {4: piece.buffer}, last - first)
        start += matrix.rows
    r.writes(op.out)


def products(r: Recorder, matrix: Matrix, x: ops.View, values: dict[str, int | float], blocks: int, own: dict, rows: int) -> None:
    """A dispatch for each number of rows; only one of them runs in a step."""
    fast, macs = r.fast and matrix.packing.kind == "code", rows * matrix.cols
    plain = dict(values)
    if fast:
        values |= quantized(r, x)
    r.add(matvec(matrix.packing, 1, fast), values, blocks, own=own, between=(1, 1), macs=macs)
    r.add(matvec(matrix.packing, FEW, fast), values, blocks, own=own, per=FEW, between=(2, MANY - 1), macs=macs)
    r.add(kernel("matmul", (("SIDE", SIDE), ("TILE", TILE)), matrix.packing), plain, -(-rows // TILE), own=own, per=TILE, between=(MANY, frame.MOST_ROWS), macs=macs)


def operands(r: Recorder, matrix: Matrix, x: ops.View, out: ops.View) -> dict[str, int | float]:
    """Parameters of a product without a stack, a bias or a residual."""
    none = dict.fromkeys(("bias", "residual"), NONE)
    zero = dict.fromkeys(("x_slot", "y_slot", "residual_stride", "choice", "choice_stride", "first", "count", "size"), 0)
    many = frame.OUTPUTS if r.on_outputs else frame.ROWS
    return none | zero | {"blocks": matrix.blocks, "rows": matrix.rows, "many": many} | r.places(x=x, y=out)


def quantized(r: Recorder, x: ops.View, most: int = MANY - 1) -> dict[str, int | float]:
    """Parameters where activations are int8, in steps of at most `most` rows; they are made unless they are there as they are now."""
    stride = quantized_words(x.width) // 4   # in fours, as `q` is
    if r.fresh != (x, most):
        values: dict[str, int | float] = {"q_stride": stride, "width": x.width}
        at, step = r.layout.at(x)
        r.add(kernel("quantize"), values | {"x": at, "x_stride": step}, -(-x.width // 16 // 64), between=(1, most))
        r.fresh = x, most
    return {"x": 0, "x_stride": stride}
