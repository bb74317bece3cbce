from __future__ import annotations

import ctypes
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from suite import MemoryTensor, tensor

from edgerun.backends.cpu import isa as isas
from edgerun.backends.cpu import weights as module
from edgerun.backends.cpu.native import Linked
from edgerun.backends.cpu.store import KernelStore
from edgerun.backends.cpu.weights import Weights, kernel_of, matrix_bytes, vector_bytes
from edgerun.errors import GGUFError
from edgerun.formats import all_formats, by_name
from edgerun.formats.packing import Parts, pack

FORMATS = sorted(fmt.name for fmt in all_formats().values())


def matrix(rows: int, cols: int, fmt: str, name: str = "w") -> MemoryTensor:
    return tensor(name, np.random.default_rng(rows).standard_normal((rows, cols)), fmt)


def filled(tensors: list[MemoryTensor], exact: bool, threads: int, progress: Any = None, linked: Linked | None = None) -> Weights:
    weights = Weights(tensors, exact)
    weights.load(linked, threads, progress)
    return weights


@pytest.fixture(scope="module")
def linked(shared_home: Path) -> Linked:
    isa = isas.choose()
    return Linked(KernelStore(isa, shared_home / "kernels").load(Weights.kernels), isa)


def packed(weights: Weights, name: str = "w") -> np.ndarray:
    """The bytes of a matrix as the kernels find them, 16 rows at a time."""
    m = weights.matrices[name]
    nbytes = m.packing.nbytes(m.rows, m.cols)
    return np.frombuffer(ctypes.string_at(m.address, nbytes), np.uint8).reshape(-1, m.block_bytes)


@pytest.mark.parametrize("native", [True, False], ids=["native", "numpy"])
@pytest.mark.parametrize("slices", [1, 1 << 30], ids=["small slices", "one slice"])
@pytest.mark.parametrize("rows", [1, 15, 16, 17, 50])
@pytest.mark.parametrize("fmt", FORMATS)
def test_slices_and_threads_make_what_the_format_makes_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, linked: Linked, fmt: str, rows: int, slices: int, native: bool
) -> None:
    monkeypatch.setattr(module, "SLICE", slices)
    w = matrix(rows, max(64, by_name(fmt).block), fmt)
    want = np.zeros((-(-rows // 16), by_name(fmt).packing.nbytes(16, w.shape[1])), np.uint8)
    by_name(fmt).repack(w.read(), want)
    weights = filled([w], False, 3, None, linked if native else None)
    np.testing.assert_array_equal(packed(weights), want)
    assert matrix_bytes(w, False) == -(-want.nbytes // 64) * 64


@pytest.mark.parametrize("fmt", ["Q4_0", "F16", "F32"])
@pytest.mark.parametrize("rows", [3, 16, 40])
def test_exact_weights_are_float32(linked: Linked, fmt: str, rows: int) -> None:
    w = matrix(rows, 64, fmt)
    values = np.zeros((-(-rows // 16) * 16, 64), np.float32)
    values[:rows] = by_name(fmt).dequantize(w.read())
    want = np.zeros((len(values) // 16, 16 * 64 * 4), np.uint8)
    pack(module.EXACT, Parts(values), want)
    np.testing.assert_array_equal(packed(filled([w], True, 2, None, linked)), want)


@pytest.mark.parametrize("native", [True, False], ids=["native", "numpy"])
@pytest.mark.parametrize("slices", [1, 1 << 30], ids=["small slices", "one slice"])
@pytest.mark.parametrize("rows", [1, 16, 40])
@pytest.mark.parametrize("fmt", ["F16", "Q4_K", "Q8_0", "IQ2_S"])
def test_a_stack_is_its_matrices_one_behind_the_other(
    monkeypatch: pytest.MonkeyPatch, linked: Linked, fmt: str, rows: int, slices: int, native: bool
) -> None:
    monkeypatch.setattr(module, "SLICE", slices)
    w = tensor("w", np.random.default_rng(rows).standard_normal((5, rows, 256)), fmt)
    weights = filled([w], False, 3, None, linked if native else None)
    stack = weights.matrices["w"]
    assert (stack.count, stack.rows, stack.cols, stack.kernel) == (5, rows, 256, kernel_of(w, False))
    assert matrix_bytes(w, False) == -(-5 * stack.nbytes // 64) * 64
    for i in range(5):
        alone = MemoryTensor("w", (rows, 256), w.type, w.data[i * rows : (i + 1) * rows])
        want = packed(filled([alone], False, 1))
        got = np.frombuffer(ctypes.string_at(stack.address + i * stack.nbytes, stack.nbytes), np.uint8)
        np.testing.assert_array_equal(got, want.reshape(-1))


def test_a_vector_is_a_matrix_of_one_row() -> None:
    w = tensor("w", np.arange(64, dtype=np.float32))
    m = filled([w], False, 1).matrices["w"]
    assert (m.count, m.rows, m.cols) == (1, 1, 64)


def test_matrices_lie_apart_and_aligned() -> None:
    tensors = [matrix(5, 32, "Q4_0", "a"), matrix(33, 32, "Q8_0", "b"), matrix(1, 5, "F16", "c")]
    weights = Weights(tensors, False)
    ends = [(m.address, m.address + m.packing.nbytes(m.rows, m.cols)) for m in weights.matrices.values()]
    assert all(start % 64 == 0 for start, _ in ends)
    assert all(a[1] <= b[0] for a, b in pairwise(ends))


def test_kernels_by_name() -> None:
    names = {fmt: (kernel_of(matrix(1, 256, fmt), False), kernel_of(matrix(1, 256, fmt), True)) for fmt in ("Q4_K", "BF16", "F32")}
    assert names == {
        "Q4_K": ("product-Q4_K", "product_float-f32"),
        "BF16": ("product_float-bf16", "product_float-f32"),
        "F32": ("product_float-f32", "product_float-f32"),
    }


@pytest.mark.parametrize(("n", "fmt"), [(1, "F32"), (16, "F32"), (40, "F16"), (64, "Q8_0")])
def test_a_vector_ends_in_zeros_and_is_read_once(n: int, fmt: str) -> None:
    reads = []

    class Counted(MemoryTensor):
        def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
            reads.append(self.name)
            return super().read(start, stop)

    t = tensor("v", np.arange(1, n + 1, dtype=np.float32), fmt)
    counted, weights = Counted("v", t.shape, t.type, t.data), Weights([], False)
    address = weights.vector(counted)
    assert weights.vector(counted) == address
    assert reads == ["v"]
    values = np.frombuffer(ctypes.string_at(address, vector_bytes(t)), np.float32)
    np.testing.assert_array_equal(values[:n], by_name(fmt).dequantize(t.read()).reshape(-1))
    assert len(values) % 16 == 0
    assert not values[n:].any()


# ---- what goes wrong ---------------------------------------------------------------------------------------------------


class Failing(MemoryTensor):
    """Reads well until row 320, slowly."""

    error: BaseException = GGUFError("the file was cut short")
    reads = 0

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        type(self).reads += 1
        time.sleep(0.001)
        if start >= 320:
            raise self.error
        return super().read(start, stop)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("error", [GGUFError("the file was cut short"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_an_error_in_reading_stops_all_and_is_raised(monkeypatch: pytest.MonkeyPatch, threads: int, error: BaseException) -> None:
    monkeypatch.setattr(module, "SLICE", 1)
    good = matrix(1600, 32, "Q8_0")
    monkeypatch.setattr(Failing, "error", error)
    monkeypatch.setattr(Failing, "reads", 0)
    before = set(threading.enumerate())
    with pytest.raises(type(error)) as raised:
        filled([Failing("w", good.shape, good.type, good.data)], False, threads, None)
    assert raised.value is error
    assert Failing.reads <= 20 + threads
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_the_progress_line_is_raised_too(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """It may come in any of the threads, as when standard error was closed."""
    monkeypatch.setattr(module, "SLICE", 1)

    def progress(done: int, of: int) -> None:
        if done == 7:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        filled([matrix(1600, 32, "Q8_0")], False, threads, progress)


@pytest.mark.parametrize("threads", [1, 4])
def test_progress_counts_every_slice_in_order(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(module, "SLICE", 1)
    calls: list[Any] = []
    filled([matrix(100, 32, "Q8_0", "a"), matrix(20, 32, "F16", "b")], False, threads, lambda *call: calls.append(call))
    assert calls == [(i + 1, 9) for i in range(9)]
