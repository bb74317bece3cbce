"""From a Program to dispatches: which kernels run on which buffers, in which order. `lowering/` knows the ops, `wgsl/` the kernels.

Everything a step binds is made here, once; a step only counts its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from edgerun.backends.executor import PAGE, Tensor
from edgerun.backends.gpu.frame import MOST_ROWS
from edgerun.backends.gpu.joining import Names, Parts
from edgerun.backends.gpu.layout import Layout, turning
from edgerun.backends.gpu.lowering import LOWERINGS
from edgerun.backends.gpu.pipelines import NONE, Pipelines, Range, whole
from edgerun.backends.gpu.queue import Queue
from edgerun.backends.gpu.source import Source
from edgerun.backends.gpu.weights import Matrix, Weights
from edgerun.dataclass import dataclass
from edgerun.graph import ops
from edgerun.graph.program import Cache, Program


@dataclass(frozen=True)
class Dispatch:
    """A kernel with what it is bound to. `x`, a workgroup for each `per` rows, `z`: its workgroups; it runs for `low` to `high` rows.

    near, far: how many positions the longest sequence may have. on_outputs: rows are those asked for. macs: multiplications of one row.
    """

    pipeline: Any
    group: Any
    x: int
    z: int
    per: int
    low: int
    high: int
    near: int
    far: int
    on_outputs: bool
    macs: int


def kv_bytes(cache: Cache, half: bool) -> tuple[int, int]:
    """Bytes of the keys and of the values of one cache in a page."""
    pair = 4 if half else 8
    keys, values = (-(-width // 2) * pair for width in (cache.key_width, cache.value_width))
    return PAGE * cache.kv_heads * keys, PAGE * cache.kv_heads * values


def fused(program: Iterable[ops.Op]) -> list[ops.Op]:
    """The same ops, with turns that follow each other over heads side by side, of queries and keys, made one."""
    result: list[ops.Op] = []
    for op in program:
        before = result[-1] if result else None
        if isinstance(op, ops.Rope) and isinstance(before, ops.Rope) and turning(op) == turning(before):
            x, y = before.x, op.x
            if (x.buffer, x.start + x.width) == (y.buffer, y.start) and x.width * op.heads == y.width * before.heads:
                result[-1] = replace(before, x=ops.View(x.buffer, x.start, x.width + y.width), heads=before.heads + op.heads)
                continue
        result.append(op)
    return result


class Recorder:
    """The dispatches of a program. Those after the first `body` work on hidden rows only to get logits."""

    def __init__(
        self, program: Program, tensors: Mapping[str, Tensor], layout: Layout, weights: Weights, pipelines: Pipelines, queue: Queue, *,
        pages: int, half: bool,
    ) -> None:  # fmt: skip
        """tensors: for their shapes and formats."""
        self.layout, self.half, self.caches = layout, half, program.caches
        self.matrices: Mapping[Names, Matrix] = weights.matrices
        self.tensors, self.arena = tensors, pipelines.arena
        self.dispatches: list[Dispatch] = []
        self.embeddings: list[ops.Embed] = []
        self.hidden: ops.View | None = None
        self.body = 0
        self.on_outputs = False
        self._weights, self._pipelines = weights, pipelines
        self._memories = [[whole(queue.buffer(pages * n, "key/value memory")) for n in kv_bytes(cache, half)] for cache in program.caches]
        for op in fused(program.ops):
            LOWERINGS[type(op)](self, op)
        self.far = min((d.near for d in self.dispatches if d.near), default=NONE)   # positions from which on other dispatches run

    def vector(self, name: str | None) -> int:
        """Where the numbers of a vector begin; NONE for none."""
        return self.vectors((name,) if name else None)

    def vectors(self, parts: Parts | None) -> int:
        """Where the numbers of vectors one behind the other begin; NONE for none."""
        return self._weights.vector(parts) if parts else NONE

    def memory(self, cache: int) -> dict[int, Range]:
        """The bindings of the keys and values of a cache."""
        keys, values = self._memories[cache]
        return {5: keys, 6: values}

    def places(self, **views: ops.View) -> dict[str, int | float]:
        """Parameters NAME and NAME_stride of views."""
        places: dict[str, int | float] = {}
        for name, view in views.items():
            places[name], places[f"{name}_stride"] = self.layout.at(view)
        return places

    def add(
        self, source: Source, values: dict[str, int | float], x: int, *, z: int = 1, own: dict[int, Range] | None = None,
        per: int = 1, between: tuple[int, int] = (1, MOST_ROWS), reach: tuple[int, int] = (0, NONE), macs: int = 0,
    ) -> None:  # fmt: skip
        """Append a dispatch of `x` workgroups for each `per` rows."""
        assert 0 < x < 1 << 16, (source.name, x)
        assert 0 < z < 1 << 16, (source.name, z)
        group = self._pipelines.group(source, values, own or {})
        self.dispatches.append(Dispatch(self._pipelines.pipeline(source), group, x, z, per, *between, *reach, self.on_outputs, macs))
