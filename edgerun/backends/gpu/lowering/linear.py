"""Products with matrices: which kernel for how many rows, and where its operands lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgerun.backends.gpu import frame
from edgerun.backends.gpu.joining import joined
from edgerun.backends.gpu.layout import besides, padded
from edgerun.backends.gpu.lowering.rows import MANY, copied
from edgerun.backends.gpu.pipelines import NONE, Range, whole
from edgerun.backends.gpu.source import Source, kernel
from edgerun.backends.gpu.weights import Matrix
from edgerun.dataclass import dataclass
from edgerun.formats.packing import ROWS, Packing
from edgerun.graph import ops

if TYPE_CHECKING:
    from edgerun.backends.gpu.recorder import Recorder

LANES = 256   # of a workgroup: 16 rows and 16 shares of the columns
FEW = 4       # rows of a step that share what is read of a matrix
TILE = 64     # rows of the matrix, and of the step, in a tile
SIDE = 4      # sums of a lane, in both directions


def matvec(packing: Packing, tokens: int, stack: bool = False) -> Source:
    """The kernel for few rows."""
    constants = (("LANES", LANES), ("SPLITS", LANES // ROWS), ("TOKENS", tokens), ("STACK", stack))
    return kernel("matvec", constants, packing)


@dataclass(frozen=True)
class Operand:
    """What a product reads by fours, as it is bound. values: its parameters; base: where what else is bound begins."""

    bound: dict[int, Range]
    values: dict[str, int | float]
    base: int

    def places(self, r: Recorder, **views: ops.View) -> dict[str, int | float]:
        """As those of the recorder, in what else is bound."""
        places = r.places(**views)
        for name in views:
            places[name] -= self.base
        return places


def operand(r: Recorder, op: ops.Linear | ops.Experts) -> Operand:
    """The range of x, and one that it does not meet for the rest. Where they cannot but meet, x is copied."""
    apart = r.layout.apart(op.x, *besides(op))
    x, stride = r.layout.at(op.x)
    if apart.copied:
        copied(r, op.x, apart.operand[0])
        x, stride = apart.operand[0], padded(op.x.width)
    bound = {binding: Range(r.arena, 4 * first, 4 * last) for binding, (first, last) in ((0, apart.rest), (7, apart.operand))}
    return Operand(bound, {"x": x - apart.operand[0], "x_stride": stride}, apart.rest[0])


def linear(r: Recorder, op: ops.Linear) -> None:
    """One matrix after another, those that are one together, each with its rows of the result."""
    start, x = 0, operand(r, op)
    for names, bias in joined(op, r.tensors):
        matrix = r.matrices[names]
        for piece in matrix.pieces:
            first, last = piece.first * ROWS, min(matrix.rows, (piece.first + piece.count) * ROWS)
            out = op.out.part(start + first, last - first)
            values = operands(r, matrix) | x.values | x.places(r, y=out)
            values |= {"rows": last - first, "bias": NONE if bias is None else r.vectors(bias) + first}
            if op.residual:
                values |= x.places(r, residual=op.residual.part(start + first, last - first))
            products(r, matrix, values, piece.count, x.bound | {4: whole(piece.buffer)}, last - first)
        start += matrix.rows


def products(r: Recorder, matrix: Matrix, values: dict[str, int | float], blocks: int, own: dict[int, Range], rows: int) -> None:
    """A dispatch for each number of rows; only one of them runs in a step."""
    macs = rows * matrix.cols
    r.add(matvec(matrix.packing, 1), values, blocks, own=own, between=(1, 1), macs=macs)
    r.add(matvec(matrix.packing, FEW), values, blocks, own=own, per=FEW, between=(2, MANY - 1), macs=macs)
    r.add(kernel("matmul", (("SIDE", SIDE), ("TILE", TILE)), matrix.packing), values, -(-rows // TILE), own=own, per=TILE, between=(MANY, frame.MOST_ROWS), macs=macs)


def operands(r: Recorder, matrix: Matrix) -> dict[str, int | float]:
    """Parameters of a product without a stack, a bias or a residual, but for those of x and y."""
    none: dict[str, int | float] = dict.fromkeys(("bias", "residual"), NONE)
    zero = dict.fromkeys(("x_slot", "y_slot", "residual_stride", "choice", "choice_stride", "first", "count", "size"), 0)
    many = frame.OUTPUTS if r.on_outputs else frame.ROWS
    return none | zero | {"blocks": matrix.blocks, "rows": matrix.rows, "many": many}
