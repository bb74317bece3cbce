"""Collects ops, buffers, caches and states while a spec is walked, and holds every tensor of the file to account.

Knows names and shapes only: no architecture, no bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from edgerun.errors import ModelError
from edgerun.graph.ops import Experts, Linear, Op, View
from edgerun.graph.program import Cache, Program

Shape = tuple[int, ...]   # slowest first: a matrix is (rows, cols)


class Builder:
    """A program in the making over the tensors of one file.

    shapes: every tensor of the file; consumed: tensors whose values are in the spec already (rope_freqs.weight).
    """

    def __init__(self, shapes: Mapping[str, Shape], consumed: Iterable[str] = ()) -> None:
        self._shapes = shapes
        self._consumed = frozenset(consumed)
        self._used: set[str] = set()
        self._ops: list[Op] = []
        self._buffers: dict[str, int] = {}
        self._caches: list[Cache] = []
        self._states: list[tuple[int, ...]] = []

    def has(self, name: str) -> bool:
        """Whether the file has tensor `name`."""
        return name in self._shapes

    def weight(self, name: str, *shape: int) -> str:
        """`name`, marked as used; ModelError when the file lacks it or its shape is not `shape`."""
        found = self._shapes.get(name)
        if found is None:
            raise ModelError(f"tensor '{name}' {_text(shape)} is missing from the model file; download or convert it again")
        if tuple(found) != shape:
            raise ModelError(f"tensor '{name}' has shape {_text(found)} where the file's hyperparameters call for {_text(shape)}; convert it again")
        self._used.add(name)
        return name

    def rows(self, name: str, width: int) -> str:
        """`weight(name, n, width)` for any n above 0."""
        found = self._shapes.get(name, ())
        return self.weight(name, max(1, found[0]) if found else 1, width)

    def optional(self, name: str, *shape: int) -> str | None:
        """`weight(name, *shape)`, or None when the file lacks it."""
        return self.weight(name, *shape) if self.has(name) else None

    def unread(self, name: str, *shape: int) -> None:
        """Account for a tensor that files may bring although nothing reads it; ModelError where it has another shape."""
        if self.has(name):
            self.weight(name, *shape)
            self._used.discard(name)
            self._consumed |= {name}

    def buffer(self, name: str, width: int) -> View:
        """All columns of buffer `name`; layers share a buffer by its name, the widest one decides."""
        self._buffers[name] = max(width, self._buffers.get(name, 0))
        return View(name, 0, width)

    def cache(self, cache: Cache) -> int:
        """The index of a new key/value memory."""
        self._caches.append(cache)
        return len(self._caches) - 1

    def state(self, *shape: int) -> int:
        """The index of a new recurrent state."""
        self._states.append(shape)
        return len(self._states) - 1

    def add(self, op: Op) -> None:
        """Append an op."""
        self._ops.append(op)

    def linear(self, x: View, out: View, parts: Sequence[tuple[str, int]], residual: View | None = None) -> None:
        """Append one Linear over matrices (name, rows), with the biases that the file has."""
        assert sum(rows for _, rows in parts) == out.width, (parts, out)
        weights = tuple(self._matrix(f"{name}.weight", rows, x.width) for name, rows in parts)
        biases = tuple(self.optional(f"{name}.bias", rows) for name, rows in parts)
        self.add(Linear(x, out, weights, biases, residual))

    def experts(self, x: View, choice: View, out: View, count: int, cols: int, parts: Sequence[tuple[str, int]], biased: bool = True) -> None:
        """Append one Experts over stacks (name, rows) of `count` matrices of `cols` columns.

        biased: whether biases of the file are added; else such a file is refused in the end.
        """
        weights = tuple(self.weight(f"{name}.weight", count, rows, cols) for name, rows in parts)
        biases = tuple(self.optional(f"{name}.bias", count, rows) if biased else None for name, rows in parts)
        op = Experts(x, choice, out, count, cols, weights, biases)
        assert op.used * sum(rows for _, rows in parts) == out.width, (parts, out)
        self.add(op)

    def _matrix(self, name: str, rows: int, cols: int) -> str:
        """A weight [rows, cols]; a file may hold one row as a vector."""
        return self.weight(name, cols) if rows == 1 and self._shapes.get(name) == (cols,) else self.weight(name, rows, cols)

    def unused(self) -> set[str]:
        """Tensors of the file that nothing has asked for."""
        return self._shapes.keys() - self._used - self._consumed

    def program(self, logits: View | None) -> Program:
        """The finished program, without logits where it ends in hidden rows; ModelError when tensors of the file were left unused."""
        if unused := self.unused():
            first = ", ".join(ascii(name)[:80] for name in sorted(unused)[:3]) + (", ..." if len(unused) > 3 else "")
            raise ModelError(f"{len(unused)} tensors have no part in this architecture as edgerun knows it: {first}; its answers would be wrong")
        n_vocab, buffer = (logits.width, logits.buffer) if logits else (0, None)
        return Program(tuple(self._ops), dict(self._buffers), tuple(self._caches), frozenset(self._used), n_vocab, buffer, tuple(self._states))


class Survey(Builder):
    """A Builder that writes down what does not fit instead of refusing it."""

    def __init__(self, shapes: Mapping[str, Shape], consumed: Iterable[str] = ()) -> None:
        super().__init__(shapes, consumed)
        self.missing: set[str] = set()
        self.misshapen: set[str] = set()

    def weight(self, name: str, *shape: int) -> str:
        """`name`, whatever the file says of it."""
        found = self._shapes.get(name)
        if found is None:
            self.missing.add(name)
        elif tuple(found) != shape:
            self.misshapen.add(name)
        self._used.add(name)
        return name


def _text(shape: Shape) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
