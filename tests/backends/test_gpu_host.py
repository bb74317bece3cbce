"""What the host does for a token while the device computes: a model of 32 layers so small that nothing else counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from tiny import batch, model

from edgerun.backends import reference
from edgerun.backends.gpu import layout
from edgerun.backends.gpu.queue import Encoded, Queue

pytestmark = pytest.mark.gpu

LAYERS, PAGES = 32, 2


@pytest.fixture
def start(gpu_device: Any) -> Iterator[Callable[[int], Any]]:
    """Compiles the model of so many layers."""
    from edgerun.backends import gpu

    made: list[Any] = []

    def compile(layers: int) -> Any:
        made.append(gpu.compile(*model(layers=layers), pages=PAGES, max_rows=32, kv="f32", device=gpu_device))
        return made[-1]

    yield compile
    for executor in made:
        executor.close()


def token(executor: Any, position: int) -> np.ndarray:
    logits: np.ndarray = executor.step(batch([(0, position, 3)], [list(range(PAGES))]))
    return logits


def test_what_a_token_costs(start: Callable[[int], Any]) -> None:
    executor, costs = start(LAYERS), []
    token(executor, 0)
    for turn in range(6):
        begun = time.thread_time()
        for i in range(10):
            token(executor, 1 + 10 * turn + i)
        costs.append((time.thread_time() - begun) / 10)
    assert min(costs) < 12e-3   # 3 ms on a machine that does nothing else; one submit for each kernel would take 28
    assert sum(d.low <= 1 and not d.near for d in executor._recorder.dispatches) <= 10 * LAYERS + 4


def test_nothing_is_made_while_steps_run(start: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch, gpu_device: Any) -> None:
    """A step of one row is one submit, of what was encoded in the step before."""
    executor, done = start(2), []
    native = type(gpu_device.wgpu)
    for name in ("create_bind_group", "create_compute_pipeline", "create_shader_module", "create_buffer"):
        monkeypatch.setattr(native, name, lambda *a, **k: pytest.fail("made in a step"))
    encode, run = Queue.encode, Queue.start

    def encoding(self: Queue, jobs: Any) -> Encoded:
        done.append("encode")
        return encode(self, jobs)

    def starting(self: Queue, work: Encoded) -> None:
        done.append("start")
        run(self, work)

    monkeypatch.setattr(Queue, "encode", encoding)
    monkeypatch.setattr(Queue, "start", starting)
    token(executor, 0)
    assert done == ["encode", "start", "encode"]
    token(executor, 1)
    assert done[3:] == ["start", "encode"]


def test_what_was_encoded_ahead_fits_what_comes(start: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Single tokens, then some, hidden rows, rows that nobody asks for, and a reach from which on other kernels run."""
    monkeypatch.setattr(layout, "LONG", 12)
    executor, tables = start(2), [list(range(PAGES))]
    assert any(d.near for d in executor._recorder.dispatches)
    with closing(reference.compile(*model(layers=2), pages=PAGES)) as truth:
        at, counts = 0, []
        for rows, outputs, hidden in [(1, 1, False), (1, 1, False), (3, 1, False), (1, 1, True), (1, 1, False), (1, 0, False), (1, 1, False), *[(1, 1, False)] * 8]:
            made = batch([(0, at + i, 5 + i) for i in range(rows)], tables, [rows - 1] * outputs)
            made = type(made)(made.tokens, made.positions, made.sequences, made.tables, made.outputs, hidden)
            np.testing.assert_allclose(executor.step(made), truth.step(made), rtol=1e-3, atol=1e-3)
            at += rows
            counts.append(len(executor._ahead.jobs) if executor._ahead else 0)
    assert counts[-1] == counts[0] + 2   # in each layer the parts of attention are combined


def test_what_was_encoded_runs_once(start: Callable[[int], Any]) -> None:
    """A device ends the process that submits it twice."""
    queue = start(1)._queue
    work = queue.encode([])
    queue.start(work)
    with pytest.raises(AssertionError, match="runs once"):
        queue.start(work)
