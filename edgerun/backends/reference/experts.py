"""The float64 twins of the ops of a mixture of experts. The definitions are in `graph/ops.py`."""

from __future__ import annotations

import numpy as np

from edgerun.backends.reference.ops import sigmoid
from edgerun.backends.reference.step import Step
from edgerun.graph import ops


def route(op: ops.Route, step: Step) -> None:
    """Rank the experts of each row, keep the best, and weigh them."""
    logits = step.get(op.logits)
    if op.gating == "sigmoid":
        scores = sigmoid(logits)
    else:
        scores = np.exp(logits - logits.max(1, keepdims=True))
        scores = scores / scores.sum(1, keepdims=True)
    ranked = scores if op.bias is None else scores + step.weight(op.bias)
    if op.groups > 1:
        ranked = _within_groups(op, ranked)
    ids = _best(ranked, op.used)
    weights = np.take_along_axis(scores, ids, 1)
    if op.normalise is not None:
        weights = weights / (weights.sum(1, keepdims=True) + op.normalise)
    if op.factors is not None:
        weights = weights * step.weight(op.factors)[ids]
    step.put(op.choice, np.concatenate([ids, weights * op.scale], 1))


def experts(op: ops.Experts, step: Step) -> None:
    """Each slot times the matrix of its expert, with its bias."""
    ids = step.get(op.choice)[:, : op.used].astype(int)
    parts = []
    for name, bias in zip(op.weights, op.biases, strict=True):
        w = step.weight(name)
        x = np.broadcast_to(step.get(op.x).reshape(step.rows, -1, op.cols), (step.rows, op.used, op.cols))
        y = np.zeros((step.rows, op.used, w.shape[1]))
        for expert in np.unique(ids):
            here = ids == expert
            y[here] = x[here] @ w[expert].T + (0 if bias is None else step.weight(bias)[expert])
        parts.append(y.reshape(step.rows, -1))
    step.put(op.out, np.concatenate(parts, 1))


def weigh(op: ops.Weigh, step: Step) -> None:
    """Multiply each slot by its weight."""
    weights = _weights(op.choice, step)
    step.put(op.out, weights[..., None] * step.get(op.x).reshape(*weights.shape, -1))


def mix(op: ops.Mix, step: Step) -> None:
    """Add up the slots."""
    slots = step.get(op.x).reshape(step.rows, -1, op.out.width)
    if op.choice is not None:
        slots = slots * _weights(op.choice, step)[..., None]
    y = slots.sum(1)
    step.put(op.out, y if op.residual is None else y + step.get(op.residual))


def _weights(choice: ops.View, step: Step) -> np.ndarray:
    """The weights in a choice: [rows, used]."""
    return step.get(choice)[:, choice.width // 2 :]


def _best(values: np.ndarray, count: int) -> np.ndarray:
    """Column numbers of the `count` largest of each row, largest first, the lower number of equals: [rows, count]."""
    return np.argsort(-values, axis=1, kind="stable")[:, :count]


def _within_groups(op: ops.Route, ranked: np.ndarray) -> np.ndarray:
    """What is ranked, with -inf for the experts of all but the best groups."""
    groups = ranked.reshape(len(ranked), op.groups, -1)
    worth = np.sort(groups, axis=2)[:, :, -op.group_best :].sum(2)
    taken = np.zeros((len(ranked), op.groups), bool)
    np.put_along_axis(taken, _best(worth, op.groups_used), True, 1)
    return np.where(taken[..., None], groups, -np.inf).reshape(ranked.shape)
