"""The float64 twins of the ops with memory: `Store` and `Attention`, over pages."""

from __future__ import annotations

import numpy as np

from edgerun.backends.reference.step import Step
from edgerun.graph import ops


def store(op: ops.Store, step: Step) -> None:
    """Write each row's key and value into its sequence's page at its position."""
    memory = step.memories[op.cache]
    slots = step.slots(step.batch.sequences, step.batch.positions)
    memory.keys[slots] = step.get(op.k).reshape(step.rows, *memory.keys.shape[1:])
    memory.values[slots] = step.get(op.v).reshape(step.rows, *memory.values.shape[1:])


def attention(op: ops.Attention, step: Step) -> None:
    """Each row attends to what its sequence holds up to the row's own position (or the batch's last): to the last `window` of that, to its own chunk, or to all."""
    memory = step.memories[op.cache]
    kv_heads = memory.keys.shape[1]
    q = step.get(op.q).reshape(step.rows, kv_heads, op.heads // kv_heads, -1)
    sinks = np.full(op.heads, -np.inf) if op.sinks is None else step.weight(op.sinks)
    slopes = np.zeros(op.heads) if op.slopes is None else np.array(op.slopes)
    out = np.zeros((*q.shape[:3], memory.values.shape[2]))
    for sequence in np.unique(step.batch.sequences):
        rows = np.flatnonzero(step.batch.sequences == sequence)
        own = step.positions[rows, None, None]
        if not op.causal:
            own = np.full_like(own, own.max())
        earliest = np.zeros_like(own)
        if op.window is not None:
            earliest = np.maximum(0, own - op.window + 1)
        if op.chunk is not None:
            earliest = np.maximum(earliest, own - own % op.chunk)
        # Pages that lie wholly before the window may be gone: nothing there is touched.
        seen = np.arange(earliest.min(), own.max() + 1)
        slots = step.slots(np.full_like(seen, sequence), seen)
        visible = (earliest <= seen) & (seen <= own)
        for head in range(kv_heads):
            scores = q[rows, head] @ memory.keys[slots, head].T * op.scale   # [rows, heads that share, positions]
            if op.softcap is not None:
                scores = op.softcap * np.tanh(scores / op.softcap)
            scores = scores - slopes.reshape(kv_heads, -1, 1)[head] * (own - seen)
            weights = softmax(np.where(visible, scores, -np.inf), sinks.reshape(kv_heads, -1, 1)[head])
            out[rows, head] = weights @ memory.values[slots, head]
    step.put(op.out, out)


def softmax(scores: np.ndarray, sinks: np.ndarray) -> np.ndarray:
    """Weights over the last axis; the sink of each row takes its share and carries no value (-inf: no sink)."""
    highest = np.maximum(scores.max(-1, keepdims=True), sinks)
    weights = np.exp(scores - highest)
    return weights / (weights.sum(-1, keepdims=True) + np.exp(sinks - highest))
