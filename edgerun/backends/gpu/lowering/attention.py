"""Ops that know positions: turning, keys and values, attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgerun.backends.gpu import layout
from edgerun.backends.gpu.frame import MOST_ROWS
from edgerun.backends.gpu.layout import turning
from edgerun.backends.gpu.lowering.rows import LANES
from edgerun.backends.gpu.pipelines import NONE
from edgerun.backends.gpu.source import kernel
from edgerun.graph import ops
from edgerun.graph.program import Cache

if TYPE_CHECKING:
    from edgerun.backends.gpu.recorder import Recorder


def rope(r: Recorder, op: ops.Rope) -> None:
    """The host fills the table of a row before a step."""
    pairs = len(op.frequencies)
    near, far = (2, 1) if op.pairing == "neighbours" else (1, pairs)
    x, stride = r.layout.at(op.x)
    values: dict[str, int | float] = {
        "x": x, "x_stride": stride, "width": op.x.width // op.heads, "heads": op.heads, "pairs": pairs, "table": r.layout.ropes[turning(op)], "near": near, "far": far,
    }  # fmt: skip
    r.add(kernel("rope"), values, -(-op.heads * pairs // LANES))


def store(r: Recorder, op: ops.Store) -> None:
    """A lane writes a pair of columns."""
    cache = r.caches[op.cache]
    pairs = -(-cache.key_width // 2) - (-cache.value_width // 2)
    values: dict[str, int | float] = {"heads": cache.kv_heads}
    r.add(kernel("store", _shape(cache, r.half)), values | r.places(k=op.k, v=op.v), -(-cache.kv_heads * pairs // LANES), own=r.memory(op.cache))


def attention(r: Recorder, op: ops.Attention) -> None:
    """A workgroup for each head of each row; for few rows of a long sequence several, and one more to add up."""
    cache, parts = r.caches[op.cache], r.layout.parts
    values: dict[str, int | float] = {
        "heads": cache.kv_heads, "sharing": op.heads // cache.kv_heads, "window": NONE if op.window is None else op.window, "parts": parts,
        "chunk": NONE if op.chunk is None else op.chunk, "sinks": r.vector(op.sinks), "scale": op.scale, "softcap": op.softcap or 0.0,
    }  # fmt: skip
    values |= r.places(q=op.q, out=op.out)
    shape, own = _shape(cache, r.half), r.memory(op.cache)
    alone, shared = kernel("attention", (*shape, ("SPLITS", 1))), (*shape, ("SPLITS", layout.SPLITS))
    if not layout.split(op):
        r.add(alone, values, op.heads, own=own)
        return
    few = (1, layout.FEW)
    r.add(alone, values, op.heads, own=own, between=few, reach=(0, layout.LONG))
    r.add(kernel("attention", shared), values, op.heads, z=layout.SPLITS, own=own, between=few, reach=(layout.LONG + 1, NONE))
    r.add(kernel("combine", shared), {"parts": parts, "heads": op.heads} | r.places(out=op.out), op.heads, between=few, reach=(layout.LONG + 1, NONE))
    r.add(alone, values, op.heads, own=own, between=(layout.FEW + 1, MOST_ROWS))


def _shape(cache: Cache, half: bool) -> tuple[tuple[str, int | bool], ...]:
    keys, values = cache.key_width, cache.value_width
    return ("KEY_WIDTH", keys), ("VALUE_WIDTH", values), ("KEY_PAIRS", -(-keys // 2)), ("VALUE_PAIRS", -(-values // 2)), ("HALF", half)
