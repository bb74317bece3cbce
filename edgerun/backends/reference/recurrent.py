"""The float64 twins of the ops with a recurrent state: `Convolve`, `Scan` and `DeltaRule`, one row after another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgerun.backends.reference.step import Step
from edgerun.graph import ops


def convolve(op: ops.Convolve, step: Step) -> None:
    """Each column with its last `taps` inputs."""
    x, weight, out = step.get(op.x).copy(), step.weight(op.weight), np.zeros((step.rows, op.x.width))
    bias = 0.0 if op.bias is None else step.weight(op.bias)
    for row, past in _rows(step, op.state):
        window = np.concatenate([past, x[row : row + 1]])
        out[row] = (window * weight.T).sum(0) + bias
        past[...] = window[1:]
    step.put(op.out, out)


def scan(op: ops.Scan, step: Step) -> None:
    """Each column with its n numbers of state; what a head or a group has is repeated for its columns."""
    width = op.x.width
    x, dt, b, c = (step.get(view) for view in (op.x, op.dt, op.b, op.c))
    dt = _spread(dt, width)
    b, c = (_spread(y.reshape(step.rows, op.groups, -1), width) for y in (b, c))
    a = _spread(step.weight(op.a).reshape(1, op.dt.width, -1), width)[0]
    d = _spread(step.weight(op.d).reshape(1, -1), width)[0]
    out = np.zeros((step.rows, width))
    for row, state in _rows(step, op.state):
        h = state.swapaxes(1, 2).reshape(width, -1)
        h = np.exp(dt[row, :, None] * a) * h + (dt[row] * x[row])[:, None] * b[row]
        out[row] = (h * c[row]).sum(1) + d * x[row]
        state[...] = h.reshape(op.heads, -1, state.shape[1]).swapaxes(1, 2)
    step.put(op.out, out)


def delta_rule(op: ops.DeltaRule, step: Step) -> None:
    """Each head with its matrix of state: what it says for a key moves towards the value."""
    q, k, v = (step.get(view).reshape(step.rows, heads, -1) for view, heads in ((op.q, op.key_heads), (op.k, op.key_heads), (op.v, op.heads)))
    heads = np.arange(op.heads)
    keys = heads % op.key_heads if op.tiled else heads // (op.heads // op.key_heads)
    q, k, beta = q[:, keys], k[:, keys], step.get(op.beta)
    decay = np.exp(step.get(op.dt) * step.weight(op.a).reshape(-1))
    out = np.zeros_like(v)
    for row, state in _rows(step, op.state):
        s = state * decay[row, :, None, None]
        told = np.einsum("hkv,hk->hv", s, k[row])
        s += k[row, :, :, None] * (beta[row, :, None] * (v[row] - told))[:, None, :]
        out[row] = np.einsum("hkv,hk->hv", s, q[row])
        state[...] = s
    step.put(op.out, out)


def _rows(step: Step, state: int) -> Iterator[tuple[int, np.ndarray]]:
    """Each row with the state of its sequence, which may be changed; zeros at position 0."""
    for row in range(step.rows):
        own = step.states[state][step.slot(row)]
        if step.positions[row] == 0:
            own[...] = 0
        yield row, own


def _spread(x: np.ndarray, width: int) -> np.ndarray:
    """[rows, few, ...] to [rows, width, ...]: each of the few for as many consecutive columns."""
    return np.repeat(x, width // x.shape[1], axis=1)
