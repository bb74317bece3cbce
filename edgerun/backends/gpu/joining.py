"""Which matrices become one: those that a Linear has side by side in one format, so that one dispatch does them all. Knows no device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

from edgerun.backends.executor import Tensor
from edgerun.formats.packing import ROWS
from edgerun.graph import ops
from edgerun.graph.program import Program

Names = tuple[str, ...]
Parts = tuple[str | int, ...]   # names of vectors, or how many zeros: one behind the other


def joined(op: ops.Linear, tensors: Mapping[str, Tensor]) -> list[tuple[Names, Parts | None]]:
    """Names of the matrices that are one, and what their biases are, None where there are none."""
    found = []
    whole = dict(zip(op.weights, op.biases, strict=True))
    for _, group in groupby(_runs(op, tensors), lambda run: run[0]):
        names = tuple(name for _, name in group)
        biases = [whole[name] or rows_of(tensors[name]) for name in names]
        found.append((names, tuple(biases) if any(whole[name] for name in names) else None))
    return found


def rows_of(tensor: Tensor) -> int:
    """Rows of a matrix: a vector is a matrix of one row."""
    return (1, *tensor.shape)[-2]


def matrices(program: Program, tensors: Mapping[str, Tensor]) -> list[Names]:
    """All matrices that are multiplied with, those that are one together, once each."""
    found: dict[Names, None] = {}
    for op in program.ops:
        if isinstance(op, ops.Linear):
            found |= dict.fromkeys(names for names, _ in joined(op, tensors))
        elif isinstance(op, ops.Experts):
            found |= dict.fromkeys((name,) for name in op.weights)
    return list(found)


def vectors(program: Program, tensors: Mapping[str, Tensor]) -> list[Parts]:
    """What is read besides matrices and tables of embeddings: weights of norms, biases, sinks."""
    tables = {name for op in program.ops if isinstance(op, ops.Embed) for name in (op.table, op.positions, op.types)}
    biases = dict.fromkeys(bias for op in program.ops if isinstance(op, ops.Linear) for _, bias in joined(op, tensors) if bias)
    done = {part for bias in biases for part in bias} | {name for names in matrices(program, tensors) for name in names} | tables
    return [*biases, *((name,) for name in sorted(program.tensors - done))]


def _runs(op: ops.Linear, tensors: Mapping[str, Tensor]) -> Iterator[tuple[int, str]]:
    """Each matrix with the number of the run it is in: a run goes on while formats agree and rows fill blocks."""
    run, before = 0, None
    for name in op.weights:
        tensor = tensors[name]
        if before is not None and (tensor.type != before.type or rows_of(before) % ROWS):
            run += 1
        yield run, name
        before = tensor
