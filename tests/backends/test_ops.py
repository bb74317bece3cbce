"""Every op of the vocabulary on every backend and every ISA of this CPU, against its float64 twin."""

from __future__ import annotations

import numpy as np
import pytest
from suite import PAGES, Case, batch, float_cases, linears

from edgerun.backends import cpu, reference
from edgerun.backends.cpu import isa
from edgerun.formats import all_formats

ISAS = [i.name for i in isa.runnable()]
CODED = sorted(f.name for f in all_formats().values() if f.packing.kind == "code")


def nmse(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a - b) ** 2).sum() / (b.astype(np.float64) ** 2).sum())


def run(backend, case: Case, rows: int, chunk: int, **options) -> np.ndarray:
    executor = backend.compile(case.program(), case.all_tensors(), pages=PAGES, max_rows=128, **options)
    try:
        whole = batch(rows, PAGES)
        parts = []
        for i in range(0, rows, chunk):
            n = min(chunk, rows - i)
            piece = type(whole)(whole.tokens[i : i + n], whole.positions[i : i + n], whole.sequences[i : i + n], whole.tables, np.arange(n, dtype=np.int32))
            parts.append(executor.step(piece).copy())
        return np.concatenate(parts)
    finally:
        executor.close()


@pytest.fixture(params=ISAS)
def forced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("EDGERUN_ISA", request.param)
    return request.param


@pytest.mark.parametrize("case", float_cases(), ids=lambda c: c.name)
def test_float_op(case: Case, forced: str) -> None:
    truth = run(reference, case, 101, 101)
    exact = run(cpu, case, 101, 101, numerics="exact", kv="f32")
    assert nmse(exact, truth) < case.bound
    for chunk, threads in ((101, 2), (37, 1), (1, 2)):
        again = run(cpu, case, 101, chunk, numerics="exact", kv="f32", threads=threads)
        assert np.array_equal(again, exact), (chunk, threads)
    if case.caches:
        halves = run(cpu, case, 101, 101, kv="f16")
        assert nmse(halves, truth) < 1e-6


@pytest.mark.parametrize("case", linears(CODED), ids=lambda c: c.name)
def test_integer_product(case: Case, forced: str) -> None:
    """Against the weights times the int8 activations, which the quantization of the table itself makes exact."""
    table = case.all_tensors()["table"].data.view(np.float32).reshape(-1, case.width)
    blocks = table.reshape(len(table), -1, 16)
    step = np.abs(blocks).max(-1, keepdims=True) / np.float32(127)
    rounded = (np.rint(blocks / step).astype(np.float64) * step).reshape(table.shape)
    whole = batch(23, PAGES)
    from edgerun.formats import by_id

    start, truth = 0, []
    for op in case.ops:
        for name, bias in zip(op.weights, op.biases, strict=True):   # type: ignore[attr-defined]
            w = case.tensors[name]
            y = rounded[whole.tokens] @ by_id(w.type).dequantize(w.read()).astype(np.float64).T
            if bias:
                y += case.tensors[bias].data.view(np.float32)
            if op.residual:   # type: ignore[attr-defined]
                y += table[whole.tokens][:, start : start + w.shape[0]]
            truth.append(y)
            start += w.shape[0]
    fast = run(cpu, case, 23, 23)
    assert nmse(fast, np.concatenate(truth, 1)) < 1e-11
    for chunk, threads in ((23, 2), (7, 1), (1, 2)):
        assert np.array_equal(run(cpu, case, 23, chunk, threads=threads), fast), (chunk, threads)
