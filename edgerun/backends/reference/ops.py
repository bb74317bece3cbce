"""The float64 twin of every op but those with memory (`attention.py`) or a state (`recurrent.py`) and those of experts (`experts.py`).

The definitions are in `graph/ops.py`.
"""

from __future__ import annotations

import math

import numpy as np

from edgerun.backends.reference.step import Step
from edgerun.graph import ops


def embed(op: ops.Embed, step: Step) -> None:
    """Rows of the table, times scale, plus the rows of the positions and of the first type."""
    x = step.weight(op.table)[step.batch.tokens] * op.scale
    x = x if op.positions is None else x + step.weight(op.positions)[step.positions]
    step.put(op.out, x if op.types is None else x + step.weight(op.types)[0])


def norm(op: ops.Norm, step: Step) -> None:
    """Each group of columns to unit mean square (rms), or to zero mean and unit variance (layer)."""
    x = step.get(op.x).reshape(step.rows, op.groups, op.x.width // op.groups)
    if op.kind == "layer":
        x = x - x.mean(-1, keepdims=True)
    y = x / np.sqrt((x * x).mean(-1, keepdims=True) + op.eps)
    shape = y.shape[1:] if op.own else y.shape[2:]
    if op.weight is not None:
        y = y * step.weight(op.weight).reshape(shape)
    if op.bias is not None:
        y = y + step.weight(op.bias).reshape(shape)
    step.put(op.out, y)


def linear(op: ops.Linear, step: Step) -> None:
    """Matrices side by side, each with its bias, plus the residual."""
    x = step.get(op.x)
    parts = []
    for weight, bias in zip(op.weights, op.biases, strict=True):
        y = x @ step.weight(weight).reshape(-1, op.x.width).T   # a vector is a matrix of one row
        parts.append(y if bias is None else y + step.weight(bias))
    y = np.concatenate(parts, axis=1)
    step.put(op.out, y if op.residual is None else y + step.get(op.residual))


def rope(op: ops.Rope, step: Step) -> None:
    """Turn each pair (a, b) of each head by position * frequency."""
    x = step.get(op.x).reshape(step.rows, op.heads, -1).copy()
    n = len(op.frequencies)
    frequencies = np.array(op.frequencies, np.float64)
    if op.long:
        frequencies = np.where(step.lengths[:, None, None] > op.context, np.array(op.long, np.float64), frequencies)
    angle = step.positions[:, None, None] * frequencies
    cos, sin = np.cos(angle) * op.magnitude, np.sin(angle) * op.magnitude
    first, second = (slice(0, 2 * n, 2), slice(1, 2 * n, 2)) if op.pairing == "neighbours" else (slice(0, n), slice(n, 2 * n))
    a, b = x[..., first].copy(), x[..., second].copy()
    x[..., first] = a * cos - b * sin
    x[..., second] = a * sin + b * cos
    step.put(op.x, x)


def temper(op: ops.Temper, step: Step) -> None:
    """Grow with the logarithm of how many times `length` the position is."""
    times = np.floor((step.positions + op.offset) / op.length)
    step.put(op.x, step.get(op.x) * (1 + op.beta * np.log1p(times))[:, None])


def activation(kind: ops.Activation | ops.Xielu, x: np.ndarray) -> np.ndarray:
    """The activation function `kind` of every value."""
    match kind:
        case ops.Xielu(positive, negative, beta, eps):
            return np.where(x > 0, positive * x * x, negative * (np.expm1(np.minimum(x, eps)) - x)) + beta * x
        case "silu":
            return x * sigmoid(x)
        case "gelu":
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        case "gelu_erf":
            return 0.5 * x * (1 + np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2)))
        case "relu":
            return np.maximum(x, 0)
        case "relu2":
            return np.maximum(x, 0) ** 2
        case "sigmoid":
            return sigmoid(x)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), written so that it cannot overflow."""
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


def gate(op: ops.Gate, step: Step) -> None:
    """Activate the gate and multiply."""
    step.put(op.out, activation(op.activation, step.get(op.gate)) * step.get(op.up))


def clamped_gate(op: ops.ClampedGate, step: Step) -> None:
    """Bound gate and up, then multiply."""
    g = np.minimum(step.get(op.gate), op.limit)
    u = np.clip(step.get(op.up), -op.limit, op.limit)
    step.put(op.out, g * sigmoid(op.slope * g) * (u + 1))


def activate(op: ops.Activate, step: Step) -> None:
    """Activate every value."""
    step.put(op.out, activation(op.activation, step.get(op.x)))


def add(op: ops.Add, step: Step) -> None:
    """Add two views."""
    step.put(op.out, step.get(op.x) + step.get(op.y))


def product(op: ops.Product, step: Step) -> None:
    """Multiply two views."""
    step.put(op.out, step.get(op.x) * step.get(op.y))


def softplus(op: ops.Softplus, step: Step) -> None:
    """Make every value positive, smoothly."""
    step.put(op.out, np.logaddexp(0, step.get(op.x) + (0 if op.bias is None else step.weight(op.bias))))


def arrange(op: ops.Arrange, step: Step) -> None:
    """Blocks of columns in another order."""
    step.put(op.out, step.get(op.x).reshape(step.rows, -1, op.block)[:, list(op.order)])


def scale_columns(op: ops.ScaleColumns, step: Step) -> None:
    """Multiply each column by its weight."""
    step.put(op.out, step.get(op.x) * step.weight(op.weight))


def cutoff(op: ops.Cutoff, step: Step) -> None:
    """What sticks out of the row by more than so many deviations, and zeros."""
    x = step.get(op.x)
    step.put(op.out, np.maximum(0, x - x.mean(-1, keepdims=True) - op.deviations * x.std(-1, keepdims=True)))


def scale(op: ops.Scale, step: Step) -> None:
    """Multiply by a number."""
    step.put(op.out, step.get(op.x) * op.factor)


def clamp(op: ops.Clamp, step: Step) -> None:
    """Cut every value off at +-limit."""
    step.put(op.out, np.clip(step.get(op.x), -op.limit, op.limit))


def softcap(op: ops.Softcap, step: Step) -> None:
    """Bend every value smoothly into (-cap, cap)."""
    step.put(op.out, op.cap * np.tanh(step.get(op.x) / op.cap))


def select(op: ops.Select, step: Step) -> None:
    """Keep the rows whose logits are asked for; the rows of later ops are these."""
    outputs = step.batch.outputs
    step.rows, step.positions, step.lengths = len(outputs), step.batch.positions[outputs], step.batch.row_lengths()[outputs]
    step.put(op.out, step.columns(op.x)[outputs])


def hidden(op: ops.Hidden, step: Step) -> None:
    """Keep what may be asked for."""
    step.hidden = step.get(op.x).copy()
