"""Runs a program op by op in float64. Knows how weights are read and where memory lies; the ops are beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from edgerun import formats
from edgerun.backends.executor import PAGE, Batch, Tensor
from edgerun.backends.reference import attention, experts, ops, recurrent, slices, streams
from edgerun.backends.reference.step import Memory, Step
from edgerun.graph import ops as graph
from edgerun.graph.program import Cache, Program

TWINS: dict[type[graph.Op], Callable[[Any, Step], None]] = {
    graph.Embed: ops.embed,
    graph.Norm: ops.norm,
    graph.Linear: ops.linear,
    graph.HeadLinear: slices.head_linear,
    graph.Copy: slices.copy,
    graph.Rope: ops.rope,
    graph.Temper: ops.temper,
    graph.Store: attention.store,
    graph.Attention: attention.attention,
    graph.Convolve: recurrent.convolve,
    graph.Scan: recurrent.scan,
    graph.DeltaRule: recurrent.delta_rule,
    graph.Gate: ops.gate,
    graph.ClampedGate: ops.clamped_gate,
    graph.Route: experts.route,
    graph.Experts: experts.experts,
    graph.Weigh: experts.weigh,
    graph.Mix: experts.mix,
    graph.Activate: ops.activate,
    graph.Add: ops.add,
    graph.Product: ops.product,
    graph.Softplus: ops.softplus,
    graph.Arrange: ops.arrange,
    graph.ScaleColumns: ops.scale_columns,
    graph.Cutoff: ops.cutoff,
    graph.Blend: streams.blend,
    graph.Match: streams.match,
    graph.Scale: ops.scale,
    graph.Clamp: ops.clamp,
    graph.Softcap: ops.softcap,
    graph.Select: ops.select,
    graph.Hidden: ops.hidden,
}


class ReferenceExecutor:
    """An `Executor` in float64. Weights are dequantized when first needed and kept as float32, which holds them exactly."""

    def __init__(self, program: Program, tensors: Mapping[str, Tensor], pages: int, max_rows: int, slots: int) -> None:
        self.n_vocab = program.n_vocab
        self.pages = pages
        self.max_rows = max_rows
        self.slots, self.reach, self.horizons = slots if program.states else 0, 0, program.horizons
        self._program = program
        self._tensors = tensors
        self._weights: dict[str, np.ndarray] = {}
        self._latest: Step | None = None
        self._memories = [_memory(cache, pages) for cache in program.caches]
        self._states = [np.zeros((slots, *shape)) for shape in program.states]

    def step(self, batch: Batch) -> np.ndarray:
        """Run the rows of `batch`; float32 [outputs, n_vocab], or hidden rows [outputs, width]."""
        assert 0 < len(batch.tokens) <= self.max_rows, "rows per step"
        assert len(batch.tokens) == len(batch.positions) == len(batch.sequences), "one entry per row"
        step = Step(batch, self._program.buffers, self._memories, self._states, self.weight)
        self._latest = step
        for op in self._program.ops:
            TWINS[type(op)](op, step)
            if step.hidden is not None and (batch.hidden or self._program.logits is None):
                return step.hidden.astype(np.float32)
        assert not batch.hidden, "hidden rows of a program that does not mark them"
        assert self._program.logits is not None
        return step.get(graph.View(self._program.logits, 0, self.n_vocab)).astype(np.float32)

    def read(self, view: graph.View) -> np.ndarray:
        """See `Executor.read`."""
        assert self._latest is not None, "there was no step"
        return self._latest.columns(view).astype(np.float32)

    def replace(self, tensors: Iterable[Tensor]) -> None:
        """See `Replaceable.replace`."""
        for tensor in tensors:
            assert tensor.shape == self._tensors[tensor.name].shape, "a tensor of another shape"
            self._tensors = {**self._tensors, tensor.name: tensor}
            self._weights.pop(tensor.name, None)

    def weight(self, name: str) -> np.ndarray:
        """The values of tensor `name` as float64, in its shape."""
        if name not in self._weights:
            tensor = self._tensors[name]
            self._weights[name] = formats.by_id(tensor.type).dequantize(tensor.read()).reshape(tensor.shape)
        return self._weights[name].astype(np.float64)

    def copy_state(self, source: int, target: int) -> None:
        """See `Executor.copy_state`."""
        for state in self._states:
            state[target] = state[source]

    def close(self) -> None:
        """Forget weights and memory."""
        self._weights.clear()
        self._latest = None
        self._memories.clear()
        self._states.clear()


def _memory(cache: Cache, pages: int) -> Memory:
    keys, values = (np.zeros((pages * PAGE, cache.kv_heads, width)) for width in (cache.key_width, cache.value_width))
    return Memory(keys, values)
