"""Every op that the GPU backend knows on the device there is, against its float64 twin."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from suite import PAGES, Case, batches, experts, float_cases, linears, rounded_products, tensor, wide_linears

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

    executors: list[Executor] = []

    def compile(case: Case, **options: Any) -> Executor:
        executors.append(gpu.compile(case.program(), case.all_tensors(), **{"pages": 2 * PAGES, "max_rows": 128, "device": gpu_device} | options))
        return executors[-1]

    yield compile
    for executor in executors:
        executor.close()


def nmse(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a - b) ** 2).sum() / (b.astype(np.float64) ** 2).sum())


def run(executor: Executor, rows: int, chunk: int, turn: int = 0) -> np.ndarray:
    """Logits of all rows of one sequence; a turn of its own gives it pages that nobody wrote before."""
    return np.concatenate([executor.step(batch).copy() for batch in batches(rows, chunk, turn * PAGES, PAGES)])


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


@functools.cache
def _rounded(name: str) -> np.ndarray:
    """The products of the weights with activations as int8 with a step for 16 columns each, in float64."""
    return rounded_products(next(case for case in PRODUCTS if case.name == name), ROWS, lambda kind: (16, 127))


@pytest.mark.parametrize("case", PRODUCTS, ids=lambda c: c.name)
def test_product(case: Case, start: Callable[..., Executor]) -> None:
    """Exact: the weights as they are in the file. Fast: the products of integers, one row at a time and some."""
    bound = 1e-10 if not case.name.endswith("smallest") else 1e-3   # numbers so small that a device may take them for 0
    assert nmse(run(start(case, numerics="exact"), ROWS, 19), _truth(case.name)) < bound
    fast = start(case)
    few = [executor_rows(fast, 1), executor_rows(fast, 3)]
    for got in few:
        assert nmse(got, _rounded(case.name)[: len(got)]) < max(bound, 1e-5)   # a code next to a half may fall to either side
    assert nmse(run(fast, ROWS, ROWS, 1), _truth(case.name)) < 1e-3


def executor_rows(executor: Executor, chunk: int) -> np.ndarray:
    """The first nine rows, `chunk` at a time."""
    return np.concatenate([executor.step(batch).copy() for batch, _ in zip(batches(ROWS, chunk), range(9 // chunk), strict=False)])


@pytest.mark.parametrize("case", experts(STACKS), ids=lambda c: c.name)
def test_experts(case: Case, start: Callable[..., Executor]) -> None:
    assert nmse(run(start(case, numerics="exact"), ROWS, 50), _truth(case.name)) < 1e-10
    assert nmse(run(start(case), ROWS, 50), _truth(case.name)) < 1e-3


def test_large_matrices_are_cut(start: Callable[..., Executor], monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a device binds less than a matrix takes: row blocks, and matrices of a stack, in several buffers."""
    from edgerun.backends.gpu import weights

    cases = [next(c for c in PRODUCTS if c.name == "linear-Q4_K-two"), next(c for c in experts(STACKS) if c.name == "experts-Q8_0")]
    monkeypatch.setattr(weights, "LARGEST", 1 << 12)
    for case in cases:
        executor: Any = start(case, numerics="exact")
        assert any(len(matrix.pieces) > 1 for matrix in executor._weights.matrices.values())
        assert nmse(run(executor, ROWS, 30), _truth(case.name)) < 1e-10


def test_what_is_not_known_is_refused(start: Callable[..., Executor]) -> None:
    """Before anything is uploaded, with the name of what is missing."""
    case = Case("softplus", 33, [ops.Softplus(ops.View("x", 0, 33), ops.View("logits", 0, 33))], 33)
    with pytest.raises(Unsupported, match="no kernel for Softplus"):
        start(case)
    slopes = next(c for c in float_cases() if c.name == "attention-alibi")
    assert refusal(slopes.program(), slopes.all_tensors()) == "no kernel for attention with slopes"
    odd = Case("odd", 30, [ops.Linear(ops.View("x", 0, 30), ops.View("logits", 0, 8), ("w",), (None,))], 8, tensors={"w": tensor("w", np.ones((8, 30), np.float32))})
    assert refusal(odd.program(), odd.all_tensors()) == "no kernel for 30 columns of F32"
