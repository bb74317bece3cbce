"""Every op that the GPU backend knows on the device there is, against its float64 twin."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from suite import PAGES, Case, batches, compiling, experts, float_cases, linears, nmse, run, tensor, wide_linears

from edgerun.backends import reference
from edgerun.backends.executor import Executor
from edgerun.backends.gpu.refusal import refusal
from edgerun.errors import Unsupported
from edgerun.formats import all_formats
from edgerun.graph import ops

pytestmark = pytest.mark.gpu

ROWS = 101
CODED = sorted(f.name for f in all_formats().values() if f.packing.kind == "code")
STACKS = ["MXFP4", "Q4_0", "Q4_K", "Q6_K", "Q8_0"]


def known(cases: list[Case]) -> list[Case]:
    """Those the backend has kernels for."""
    return [case for case in cases if refusal(case.program(), case.all_tensors()) is None]


FLOATS = known(float_cases())
PRODUCTS = known([*linears(CODED), *wide_linears()])


@pytest.fixture
def start(gpu_device: Any) -> Iterator[Callable[..., Executor]]:
    """Compiles a case; every executor is closed at the end."""
    from edgerun.backends import gpu

    with compiling(gpu.compile, pages=2 * PAGES, max_rows=128, device=gpu_device) as compile:
        yield compile


@functools.cache
def _truth(name: str) -> np.ndarray:
    case = next(case for case in [*FLOATS, *PRODUCTS, *experts(STACKS)] if case.name == name)
    with closing(reference.compile(case.program(), case.all_tensors(), pages=PAGES, max_rows=ROWS)) as executor:
        return run(executor, ROWS, ROWS)


def test_most_of_the_suite_is_there() -> None:
    families = {case.name.partition("-")[0] for case in FLOATS}
    assert families >= {"norm", "linear", "rope", "attention", "gate", "activate", "add", "product", "scale", "clamp", "softcap", "select", "route", "experts"}
    assert {case.name.split("-")[1] for case in PRODUCTS} == set(CODED)


@pytest.mark.parametrize("case", FLOATS, ids=lambda c: c.name)
def test_float_op(case: Case, start: Callable[..., Executor]) -> None:
    executor = start(case, numerics="exact", kv="f32")
    for chunk, turn in ((ROWS, 0), (14, 1)):
        assert nmse(run(executor, ROWS, chunk, turn), _truth(case.name)) < 1e-10, chunk
    if case.caches:
        assert nmse(run(start(case, kv="f16"), ROWS, ROWS), _truth(case.name)) < 1e-6


@pytest.mark.parametrize("case", [c for c in FLOATS if c.name in ("linear-F32-40", "attention-gqa", "norm-rms-48-3")], ids=lambda c: c.name)
def test_row_by_row(case: Case, start: Callable[..., Executor]) -> None:
    assert nmse(run(start(case, numerics="exact", kv="f32"), ROWS, 1), _truth(case.name)) < 1e-10


@pytest.mark.parametrize("case", PRODUCTS, ids=lambda c: c.name)
def test_product(case: Case, start: Callable[..., Executor]) -> None:
    """The weights as they are in the file, activations as they are: in tiles, some rows at a time, and one."""
    bound = 1e-10 if not case.name.endswith("smallest") else 1e-3   # numbers so small that a device may take them for 0
    executor = start(case)
    for turn, chunk in enumerate((ROWS, 3)):
        assert nmse(run(executor, ROWS, chunk, turn), _truth(case.name)) < bound, chunk
    assert nmse(executor_rows(executor, 1), _truth(case.name)[:9]) < bound


def executor_rows(executor: Executor, chunk: int) -> np.ndarray:
    """The first nine rows, `chunk` at a time."""
    return np.concatenate([executor.step(batch).copy() for batch, _ in zip(batches(ROWS, chunk), range(9 // chunk), strict=False)])


@pytest.mark.parametrize("case", experts(STACKS), ids=lambda c: c.name)
def test_experts(case: Case, start: Callable[..., Executor]) -> None:
    assert nmse(run(start(case), ROWS, 50), _truth(case.name)) < 1e-10


def test_large_matrices_are_cut(start: Callable[..., Executor], monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a device binds less than a matrix takes: row blocks, and matrices of a stack, in several buffers."""
    from edgerun.backends.gpu import weights

    cases = [next(c for c in PRODUCTS if c.name == "linear-Q4_K-two"), next(c for c in experts(STACKS) if c.name == "experts-Q8_0")]
    monkeypatch.setattr(weights, "LARGEST", 1 << 12)
    for case in cases:
        executor: Any = start(case, numerics="exact")
        assert any(len(matrix.pieces) > 1 for matrix in executor._weights.matrices.values())
        assert nmse(run(executor, ROWS, 30), _truth(case.name)) < 1e-10


WRITTEN = (0, 5, 6, 7)   # bindings that a kernel may write to, as far as WebGPU can see


@pytest.mark.parametrize("case", [*PRODUCTS[:3], *experts(STACKS)[:1], *known(float_cases())], ids=lambda c: c.name)
def test_no_buffer_is_bound_to_be_written_where_it_is_bound_twice(case: Case, start: Callable[..., Executor], monkeypatch: pytest.MonkeyPatch, gpu_device: Any) -> None:
    """WebGPU, "encoder bind groups alias a writable resource" and "usage scope validation": wgpu checks the second only."""
    groups: list[list[dict[str, Any]]] = []
    made = type(gpu_device.wgpu).create_bind_group

    def create(self: Any, *, layout: Any, entries: list[dict[str, Any]], **more: Any) -> Any:
        groups.append(entries)
        return made(self, layout=layout, entries=entries, **more)

    monkeypatch.setattr(type(gpu_device.wgpu), "create_bind_group", create)
    start(case)
    assert groups
    for entries in groups:
        for one, other in combinations(entries, 2):
            r, s = one["resource"], other["resource"]
            if r["buffer"] is s["buffer"] and not {one["binding"], other["binding"]}.isdisjoint(WRITTEN):
                assert {one["binding"], other["binding"]} <= set(WRITTEN)
                assert r["offset"] + r["size"] <= s["offset"] or s["offset"] + s["size"] <= r["offset"], entries


def test_operands_are_copied_only_where_they_must(start: Callable[..., Executor]) -> None:
    """x is also the residual in one of them."""
    alone, among = (next(c for c in PRODUCTS if c.name == f"linear-Q4_K-{name}") for name in ("64", "two"))
    counts = [len(start(case)._recorder.dispatches) for case in (alone, among)]   # type: ignore[attr-defined]
    assert counts == [3, 7]   # a kernel for each number of rows, of one matrix and of two


def test_what_is_not_known_is_refused(start: Callable[..., Executor]) -> None:
    """Before anything is uploaded, with the name of what is missing."""
    case = Case("softplus", 33, [ops.Softplus(ops.View("x", 0, 33), ops.View("logits", 0, 33))], 33)
    with pytest.raises(Unsupported, match="no kernel for Softplus"):
        start(case)
    slopes = next(c for c in float_cases() if c.name == "attention-alibi")
    assert refusal(slopes.program(), slopes.all_tensors()) == "no kernel for attention with slopes"
    odd = Case("odd", 30, [ops.Linear(ops.View("x", 0, 30), ops.View("logits", 0, 8), ("w",), (None,))], 8, tensors={"w": tensor("w", np.ones((8, 30), np.float32))})
    assert refusal(odd.program(), odd.all_tensors()) == "no kernel for 30 columns of F32"
