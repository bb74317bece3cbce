"""A tapped program computes the same, and keeps what each product read at the time."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from suite import PAGES, Case, batches, experts, head_linears, linears

from edgerun.backends import cpu, reference
from edgerun.backends.executor import Batch
from edgerun.backends.reference.executor import TWINS
from edgerun.backends.reference.step import Step
from edgerun.formats import by_id
from edgerun.graph import ops
from edgerun.graph.taps import tapped

CASES = [*linears(["F32"]), *experts(["F32"]), *head_linears(["F32"])]


def inputs(case: Case, batch: Batch) -> list[np.ndarray]:
    """What each product reads when its turn has come, and the numbers that choose its matrices."""
    tensors = case.all_tensors()
    step = Step(batch, case.program().buffers, [], [], lambda name: by_id(tensors[name].type).dequantize(tensors[name].read()).reshape(tensors[name].shape))
    found = []
    for op in case.program().ops:
        if isinstance(op, ops.Linear | ops.Experts):
            found.append(step.get(op.x).copy())
        if isinstance(op, ops.HeadLinear):
            found.append(np.concatenate([step.get(view) for view in op.x.views], 1))
        if isinstance(op, ops.Experts):
            found.append(step.get(op.choice)[:, : op.used].copy())
        TWINS[type(op)](op, step)
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("backend", [reference, cpu], ids=["reference", "cpu"])
def test_taps_keep_what_products_read(backend: object, case: Case) -> None:
    program, taps = tapped(case.program())
    options = {"pages": PAGES, "max_rows": 64, "numerics": "exact", "kv": "f32"}
    batch = next(batches(37, 37))
    with closing(backend.compile(program, case.all_tensors(), **options)) as executor, closing(backend.compile(case.program(), case.all_tensors(), **options)) as plain:   # type: ignore[attr-defined]
        assert np.array_equal(executor.step(batch), plain.step(batch))
        views = [view for tap in taps for view in (tap.x, tap.choice) if view]
        for view, expected in zip(views, inputs(case, batch), strict=True):
            found = executor.read(view)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert [tap.weights for tap in taps] == [tuple(op.weights) for op in case.program().ops if isinstance(op, ops.Linear | ops.HeadLinear | ops.Experts)]
