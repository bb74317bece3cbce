"""What the engine asks of an executor beyond products: rows that are cut, rows that are asked for, hidden rows, an end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from suite import Case, View, batches, case_of, tensor

from edgerun.backends import reference
from edgerun.backends.executor import PAGE, Batch
from edgerun.errors import ResourceError
from edgerun.graph import ops
from edgerun.graph.program import Program

pytestmark = pytest.mark.gpu

WIDTH, VOCAB = 64, 96
PAGES = 6


def program() -> tuple[Program, dict[str, Any]]:
    """A layer of attention and a head over the rows asked for."""
    random = np.random.default_rng(7)
    tensors: dict[str, Any] = {"table": tensor("table", random.standard_normal((VOCAB, WIDTH)).astype(np.float32))}
    for name, shape in {"qkv": (96, WIDTH), "o": (WIDTH, WIDTH), "head": (VOCAB, WIDTH)}.items():
        tensors[name] = tensor(name, (random.standard_normal(shape) / 8).astype(np.float32), "Q8_0")
    from edgerun.graph.program import Cache
    from edgerun.graph.selected import selected

    x, qkv, att, h, logits = View("x", 0, WIDTH), View("qkv", 0, 96), View("att", 0, WIDTH), View("h", 0, WIDTH), View("logits", 0, VOCAB)
    steps: tuple[ops.Op, ...] = (
        ops.Embed(x, "table"),
        ops.Linear(x, qkv, ("qkv",), (None,)),
        ops.Store(qkv.part(64, 16), qkv.part(80, 16), 0),
        ops.Attention(qkv.part(0, 64), att, 0, 4, 0.25),
        ops.Linear(att, x, ("o",), (None,), x),
        ops.Select(x, h),
        ops.Hidden(h),
        ops.Linear(h, logits, ("head",), (None,)),
    )
    buffers = {"x": WIDTH, "qkv": 96, "att": WIDTH, "h": WIDTH, "logits": VOCAB}
    return selected(Program(steps, buffers, (Cache(1, 16, 16),), frozenset(tensors), VOCAB)), tensors


@pytest.fixture
def pair(gpu_device: Any) -> Iterator[tuple[Any, Any]]:
    """The executor and its truth."""
    from edgerun.backends import gpu

    made = program()
    options: dict[str, Any] = {"pages": PAGES, "max_rows": 400, "numerics": "exact", "kv": "f32"}
    with closing(gpu.compile(*made, device=gpu_device, **options)) as executor, closing(reference.compile(*made, **options)) as truth:
        yield executor, truth


def batch_of(n: int, outputs: list[int], start: int = 0, hidden: bool = False) -> Batch:
    tokens = np.random.default_rng(start).integers(0, VOCAB, n).astype(np.int32)
    table = np.arange(PAGES, dtype=np.int32)[None, ::-1]
    return Batch(tokens, np.arange(start, start + n, dtype=np.int32), np.zeros(n, np.int32), table, np.array(outputs, np.int32), hidden)


def test_long_steps_are_cut(pair: tuple[Any, Any]) -> None:
    executor, truth = pair
    batch = batch_of(380, [0, 100, 255, 256, 300, 379])
    np.testing.assert_allclose(executor.step(batch), truth.step(batch), rtol=1e-3, atol=1e-4)


def test_logits_come_a_piece_at_a_time(gpu_device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgerun.backends import gpu
    from edgerun.backends.gpu import layout

    monkeypatch.setattr(layout, "LOGITS_WORDS", 7 * VOCAB)
    made, batch = program(), batch_of(40, list(range(3, 40)))
    executor = gpu.compile(*made, pages=PAGES, numerics="exact", kv="f32", device=gpu_device)
    with closing(executor), closing(reference.compile(*made, pages=PAGES)) as truth:
        np.testing.assert_allclose(executor.step(batch), truth.step(batch), rtol=1e-3, atol=1e-4)


def test_rows_that_nobody_asks_for(pair: tuple[Any, Any]) -> None:
    executor, truth = pair
    for some in pair:
        assert some.step(batch_of(20, [])).shape == (0, VOCAB)
    batch = batch_of(3, [2], start=20)
    np.testing.assert_allclose(executor.step(batch), truth.step(batch), rtol=1e-3, atol=1e-4)


def test_hidden_rows(pair: tuple[Any, Any]) -> None:
    executor, truth = pair
    batch = batch_of(300, [1, 299], hidden=True)
    got = executor.step(batch)
    assert got.shape == (2, WIDTH)
    np.testing.assert_allclose(got, truth.step(batch), rtol=1e-3, atol=1e-4)


def test_buffers_can_be_read(pair: tuple[Any, Any]) -> None:
    executor, truth = pair
    for some in pair:
        some.step(batch_of(30, [29]))
    view = View("qkv", 10, 20)
    np.testing.assert_allclose(executor.read(view), truth.read(view), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("change", [{"tables": np.full((1, PAGES), PAGES, np.int32)}, {"outputs": np.array([9], np.int32)}, {"positions": np.array([PAGES * PAGE], np.int32)}])
def test_what_does_not_fit_never_reaches_the_device(pair: tuple[Any, Any], change: dict[str, Any]) -> None:
    from dataclasses import replace

    with pytest.raises(AssertionError):
        pair[0].step(replace(batch_of(1, [0]), **change))


def test_closing_twice(pair: tuple[Any, Any]) -> None:
    pair[0].close()
    pair[0].close()
    with pytest.raises(AssertionError, match="closed"):
        pair[0].step(batch_of(1, [0]))


def test_small_submits_compute_the_same(pair: tuple[Any, Any]) -> None:
    executor, truth = pair
    executor._most = 1.0
    batch = batch_of(50, [49])
    np.testing.assert_allclose(executor.step(batch), truth.step(batch), rtol=1e-3, atol=1e-4)


def test_too_large_a_buffer_is_refused(gpu_device: Any) -> None:
    from edgerun.backends.gpu.queue import Queue

    with pytest.raises(ResourceError, match="more than"):
        Queue(gpu_device).buffer(1 << 45, "a trial")


def test_the_probe_finds_nothing_and_what_is_broken(gpu_device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgerun.backends.gpu import lowering, probe
    from edgerun.backends.gpu.lowering import rows

    few = probe._rows()
    assert list(probe._compared(few, gpu_device)) == []
    monkeypatch.setitem(lowering.LOWERINGS, ops.Scale, lambda r, op: rows.mapped(r, "x * p.u * 1.01", op.x, op.out, numbers=(op.factor,)))
    faults = list(probe._compared(few, gpu_device))
    assert any(fault.startswith("scale, ") for fault in faults)
    assert not any(fault.startswith("rms norm") for fault in faults)


def test_the_plan_is_what_is_taken(gpu_device: Any) -> None:
    """Bytes of buffers, counted where they are made."""
    from edgerun.backends import gpu
    from edgerun.backends.gpu.queue import PIECE, Queue

    made, taken = program(), []
    real = Queue.buffer

    def counted(self: Queue, nbytes: int, what: str, *usage: str) -> Any:
        taken.append(nbytes)
        return real(self, nbytes, what, *usage)

    plan = gpu.plan(*made, pages=PAGES, max_rows=100, kv="f16")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Queue, "buffer", counted)
        gpu.compile(*made, pages=PAGES, max_rows=100, kv="f16", device=gpu_device).close()
    assert abs(plan.total - PIECE - sum(taken)) < 1 << 18   # parameters


def test_attention_over_many_pages(gpu_device: Any) -> None:
    from edgerun.backends import gpu

    case: Case = case_of("attention-window70")
    n = 5 * PAGE + 9
    executor = gpu.compile(case.program(), case.all_tensors(), pages=6, numerics="exact", kv="f32", device=gpu_device)
    with closing(executor), closing(reference.compile(case.program(), case.all_tensors(), pages=6)) as truth:
        for batch in batches(n, 200, 0, 6):
            np.testing.assert_allclose(executor.step(batch), truth.step(batch), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["attention-gqa", "attention-sinks", "attention-odd", "attention-window300"])
def test_attention_of_few_rows_is_shared(name: str, gpu_device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some workgroups have a page or two, some none; the last step is the first that reaches far enough."""
    from edgerun.backends import gpu
    from edgerun.backends.gpu import layout

    monkeypatch.setattr(layout, "LONG", 290)
    case = case_of(name)
    with closing(gpu.compile(case.program(), case.all_tensors(), pages=6, numerics="exact", kv="f32", device=gpu_device)) as executor:
        assert any(d.near for d in executor._recorder.dispatches)
        with closing(reference.compile(case.program(), case.all_tensors(), pages=6)) as truth:
            for batch in [*batches(280, 280, 0, 6), *list(batches(294, 2, 0, 6))[140:]]:
                np.testing.assert_allclose(executor.step(batch), truth.step(batch), rtol=1e-3, atol=1e-4)


def test_a_lost_device_ends_in_one_line(gpu_device: Any) -> None:
    """Destroying a device of its own is as near as a test comes to a driver that takes it away."""
    from edgerun.backends import gpu
    from edgerun.backends.gpu.device import open_device
    from edgerun.errors import DeviceError

    device = open_device(gpu_device.facts.name)
    executor = gpu.compile(*program(), pages=PAGES, device=device)
    executor.step(batch_of(3, [2]))
    device.wgpu.destroy()
    with pytest.raises(DeviceError, match="--device cpu") as caught:
        executor.step(batch_of(1, [0], start=3))
    assert "\n" not in str(caught.value)
