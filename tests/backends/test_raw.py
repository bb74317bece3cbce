"""Weights as the file has them: what it takes of memory, when rows are kept, and what becomes of files that change."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from suite import PAGES, Case, MappedTensor, View, batches, tensor

from edgerun import machine
from edgerun.backends import cpu
from edgerun.backends.cpu.executor import CpuExecutor
from edgerun.backends.cpu.raw import servable
from edgerun.errors import GGUFError, ModelError
from edgerun.formats import by_name
from edgerun.graph import ops

Start = Callable[..., CpuExecutor]


@pytest.fixture
def start() -> Iterator[Start]:
    executors: list[CpuExecutor] = []

    def compile(case: Case, **options: object) -> CpuExecutor:
        executors.append(cpu.compile(case.program(), case.all_tensors(), **{"pages": PAGES, "max_rows": 32} | options))   # type: ignore[arg-type]
        return executors[-1]

    yield compile
    for executor in executors:
        executor.close()


def product(rows: int, cols: int, kind: type[MappedTensor] = MappedTensor) -> Case:
    """One matrix in Q8_0 as a file has it."""
    blocks = np.random.default_rng(5).integers(0, 256, (rows, cols // 32, 34), np.uint8)
    blocks[..., :2] = np.frombuffer(np.float16(0.01).tobytes(), np.uint8)
    w = kind("w", (rows, cols), by_name("Q8_0").id, blocks.reshape(rows, -1))
    op = ops.Linear(View("x", 0, cols), View("logits", 0, rows), ("w",), (None,))
    return Case("product", cols, [op], rows, tensors={"w": w})


def step(executor: CpuExecutor, rows: int = 3) -> np.ndarray:
    return executor.step(next(batches(rows, rows))).copy()


def private() -> int:
    """Bytes of memory that this process has for itself, files left out."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_comes_with_the_second_step_or_never(start: Start) -> None:
    case = product(32768, 1024)
    size = case.tensors["w"].nbytes
    before = private()
    never = start(case, repack="never", threads=2)
    step(never)
    step(never)
    assert private() - before < 0.2 * size
    later = start(case, repack="later", threads=2)
    step(later)
    assert private() - before < 0.3 * size
    step(later)
    assert 0.9 * size < private() - before < 1.3 * size


def test_rows_are_repacked_once(start: Start) -> None:
    case = product(200, 64)
    executor = start(case, repack="later")
    want = step(executor)
    assert not executor._weights.complete
    np.testing.assert_array_equal(step(executor), want)
    assert executor._weights.complete
    os.ftruncate(case.tensors["w"].file.fileno(), 0)   # type: ignore[attr-defined]
    np.testing.assert_array_equal(step(executor), want)


def test_a_file_that_is_cut_short_before_its_rows_are_kept_is_an_error(start: Start) -> None:
    class Checked(MappedTensor):
        def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
            raise GGUFError("was cut short")

    for kind, error in ((Checked, GGUFError), (MappedTensor, ModelError)):
        case = product(200, 64, kind)
        executor = start(case, repack="later", threads=2)
        step(executor)
        os.ftruncate(case.tensors["w"].file.fileno(), 100)   # type: ignore[attr-defined]
        for _ in range(2):
            with pytest.raises(error):
                step(executor)


def test_what_lies_in_one_file_and_only_moves_bits_is_used_there() -> None:
    w = product(32, 256).tensors["w"]
    assert isinstance(w, MappedTensor)
    assert servable(w)
    assert not servable(replace(w, shape=(1024, 8)))                        # rows of no whole blocks
    assert not servable(tensor("v", np.ones((32, 256)), "Q8_0"))            # nobody knows where it lies
    codes = tensor("v", np.ones((32, 256)), "IQ2_XXS")
    assert not servable(MappedTensor("v", codes.shape, codes.type, codes.data))   # more than moving bits
    w.is_placed = False
    assert not servable(w)


@pytest.mark.parametrize("rows", [32, 40])
def test_the_plan_knows_what_is_left_out(start: Start, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = product(rows, 1024)
    monkeypatch.setattr(machine, "threads", lambda: machine.Threads(2, "a test"))
    plans = {repack: cpu.plan(case.program(), case.all_tensors(), pages=1, repack=repack).weights for repack in ("now", "later", "never")}
    for repack, planned in plans.items():
        weights = start(case, repack=repack, threads=2)._weights
        raw = weights._raw._arena.nbytes if weights._raw else 0
        assert planned == weights._arena.nbytes + raw, repack
    assert plans["later"] > plans["now"]
