"""A program whose matrices are adapted by products of two thin ones: W x becomes W x + B (A x) (arXiv:2106.09685). W stays as it is.

Existing ops compute it, so every backend can. Knows no backend, no file, and no scale: that is in B already.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from edgerun.dataclass import dataclass
from edgerun.graph.builder import Shape
from edgerun.graph.ops import Add, Embed, Experts, Linear, Op, View
from edgerun.graph.program import Program

_LOW, _DELTA = "lora", "lora.slots"   # buffers of A x, and of B (A x) for the slots of experts


@dataclass(frozen=True)
class Pair:
    """Names of the tensors A [rank, cols] and B [rows, rank] that adapt a matrix, or of stacks of them that adapt a stack.

    Of a table of embeddings A is [rows, rank] and B [cols, rank], so that rows of A are looked up as those of the table are.
    """

    a: str
    b: str
    rank: int


def adapted(program: Program, shapes: Mapping[str, Shape], pairs: Mapping[str, Pair]) -> tuple[Program, frozenset[str]]:
    """The program with what `pairs` add to the tensors they are named by, and the names of those that had a part in it.

    shapes: of the model's tensors. Where a table of embeddings is the output matrix too, its pair adapts the embeddings only.
    """
    work = _Adapting(program, shapes, pairs)
    for op in program.ops:
        work.add(op)
    more = {name for target in work.used for name in (pairs[target].a, pairs[target].b)}
    return dataclasses.replace(program, ops=tuple(work.ops), buffers=work.buffers, tensors=program.tensors | more), frozenset(work.used)


class _Adapting:
    """Collects the ops. A x is computed before the op that it adds to, which may write where x is."""

    def __init__(self, program: Program, shapes: Mapping[str, Shape], pairs: Mapping[str, Pair]) -> None:
        self.ops: list[Op] = []
        self.buffers = dict(program.buffers)
        self.used: set[str] = set()
        self._tables = {op.table for op in program.ops if isinstance(op, Embed)}
        self._shapes, self._pairs = shapes, pairs

    def add(self, op: Op) -> None:
        """Add an op with what goes before and after it."""
        if isinstance(op, Embed):
            self._embed(op)
        elif isinstance(op, Linear):
            self._linear(op)
        elif isinstance(op, Experts):
            self._experts(op)
        else:
            self.ops.append(op)

    def _embed(self, op: Embed) -> None:
        self.ops.append(op)
        for pair in self._known([op.table]):
            # A buffer of its own: backends look up all embeddings before the first other op.
            low = self._buffer(f"{_LOW}.{op.table}", pair.rank)
            self.ops += [Embed(low, pair.a, op.scale), Linear(low, op.out, (pair.b,), (None,), residual=op.out)]

    def _linear(self, op: Linear) -> None:
        if self._tables.intersection(op.weights):   # the output matrix, where it is the table
            self.ops.append(op)
            return
        known = self._known(op.weights)
        low = self._buffer(_LOW, sum(pair.rank for pair in known))
        if known:
            self.ops.append(Linear(op.x, low, tuple(pair.a for pair in known), (None,) * len(known)))
        self.ops.append(op)
        for pair, x, out in self._places(op.weights, low, op.out):
            self.ops.append(Linear(x, out, (pair.b,), (None,), residual=out))

    def _experts(self, op: Experts) -> None:
        known = self._known(op.weights)
        low = self._buffer(_LOW, op.used * sum(pair.rank for pair in known))
        if known:
            self.ops.append(Experts(op.x, op.choice, low, op.count, op.cols, tuple(pair.a for pair in known), (None,) * len(known)))
        self.ops.append(op)
        for pair, x, out in self._places(op.weights, low, op.out, op.used):
            delta = self._buffer(_DELTA, out.width)
            self.ops += [Experts(x, op.choice, delta, op.count, pair.rank, (pair.b,), (None,)), Add(out, delta, out)]

    def _known(self, names: Sequence[str]) -> list[Pair]:
        """The pairs of those that have one."""
        found = [name for name in names if name in self._pairs]
        self.used |= set(found)
        return [self._pairs[name] for name in found]

    def _places(self, names: Sequence[str], low: View, out: View, times: int = 1) -> Iterator[tuple[Pair, View, View]]:
        """Each pair, where its A x lies, and where its matrix wrote."""
        start = at = 0
        for name in names:
            rows = times * (1, *self._shapes[name])[-2]
            if pair := self._pairs.get(name):
                yield pair, low.part(at, times * pair.rank), out.part(start, rows)
                at += times * pair.rank
            start += rows

    def _buffer(self, name: str, width: int) -> View:
        """All columns of a buffer that the widest user decides."""
        if width:
            self.buffers[name] = max(width, self.buffers.get(name, 0))
        return View(name, 0, width)
