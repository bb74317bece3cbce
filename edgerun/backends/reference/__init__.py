"""The truth: every op in NumPy float64, one function each, simple enough to be checked by eye. Slow, and meant to be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edgerun.backends.executor import PAGE, SLOTS, MemoryPlan, Tensor
from edgerun.backends.reference.executor import ReferenceExecutor
from edgerun.graph import ops
from edgerun.graph.program import Program


def compile(program: Program, tensors: Mapping[str, Tensor], *, pages: int, max_rows: int = 512, slots: int = SLOTS, **ignored: Any) -> ReferenceExecutor:
    """An executor in float64 with `pages` pages of key/value memory and `slots` of recurrent state; other backends' options are ignored."""
    return ReferenceExecutor(program, tensors, pages, max_rows, slots)


def plan(program: Program, tensors: Mapping[str, Tensor], *, pages: int, max_rows: int = 512, slots: int = SLOTS, **ignored: Any) -> MemoryPlan:
    """Bytes that a full step at the end of the memory takes: every weight as float32, the one in use as float64 too."""
    weights = [math.prod(tensors[name].shape) for name in program.tensors]
    position = sum(cache.kv_heads * (cache.key_width + cache.value_width) for cache in program.caches)
    attentions = [op for op in program.ops if isinstance(op, ops.Attention)]
    sharing = max((op.heads // program.caches[op.cache].kv_heads for op in attentions), default=0)
    scores = 3 * max_rows * sharing * pages * PAGE   # scores, their exponentials, and the weights made of them
    rows = max_rows * sum(program.buffers.values())
    state = 8 * slots * sum(math.prod(shape) for shape in program.states)
    return MemoryPlan(4 * sum(weights), kv=8 * PAGE * pages * position, scratch=8 * (max(weights, default=0) + scores + rows), state=state)
