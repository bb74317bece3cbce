"""The CPU executor: batches, pages, rows asked for, what it allocates; against itself bit for bit, and against the reference."""

from __future__ import annotations

import dataclasses
import gc
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from suite import Case, MemoryTensor, float_cases, tensor
from tiny import VOCAB, WIDTH, batch, model, text

from edgerun.backends import cpu, reference
from edgerun.backends.cpu import executor as executor_module
from edgerun.backends.cpu import weights as weights_module
from edgerun.backends.cpu.arena import Arena
from edgerun.backends.cpu.executor import CpuExecutor
from edgerun.backends.executor import LOGITS_BYTES, PAGE, Batch, Tensor, most_outputs
from edgerun.errors import GGUFError, ResourceError, Unsupported
from edgerun.formats import by_id
from edgerun.gguf import open_gguf
from edgerun.graph import ops
from edgerun.graph.lower import lower
from edgerun.graph.program import Cache, Program
from edgerun.models import spec_from

MODES: list[dict[str, Any]] = [{"numerics": "fast", "kv": "f16", "threads": 2}, {"numerics": "exact", "kv": "f32", "threads": 1}]
ORACLE = Path(__file__).parents[1] / "golden" / "oracle"
Start = Callable[..., CpuExecutor]
_x, _h = ops.View("x", 0, 32), ops.View("h", 0, 32)


def nmse(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a.astype(np.float64) - b) ** 2).sum() / (b.astype(np.float64) ** 2).sum())


@pytest.fixture
def start() -> Iterator[Start]:
    """Compiles the tiny model, or another program; every executor is closed at the end."""
    executors = []

    def compile(of: tuple[Program, Mapping[str, Tensor]] | None = None, **options: Any) -> CpuExecutor:
        executors.append(cpu.compile(*(of or model()), **{"pages": 8, "max_rows": 256} | options))
        return executors[-1]

    yield compile
    for executor in executors:
        executor.close()


@pytest.fixture(params=MODES, ids=["fast", "exact"])
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    options: dict[str, Any] = request.param
    return options


# ---- sequences and pages -----------------------------------------------------------------------------------------------


def test_sequences_of_one_batch_do_not_meet(start: Start, mode: dict[str, Any]) -> None:
    lengths, tables = (1, 70, 9, 33), [[6, 6], [3, 0], [7, 7], [1, 1]]
    alone = [start(**mode).step(batch(text(n, 0, seed=n), [[5, 2]])).copy() for n in lengths]
    together = start(**mode).step(batch([row for s, n in enumerate(lengths) for row in text(n, s, seed=n)], tables))
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_sequences_go_on_together(start: Start, mode: dict[str, Any]) -> None:
    """One token of each at a time, at different depths, in any order of the sequences."""
    lengths, tables = (5, 63, 64), [[0, 4], [1, 5], [2, 6]]
    alone = [start(**mode).step(batch(text(n + 3, 0, seed=n), [[7, 3]])).copy() for n in lengths]
    executor = start(**mode)
    executor.step(batch([row for s, n in enumerate(lengths) for row in text(n, s, seed=n)], tables, outputs=[]))
    for i in range(3):
        order = [(2, 0, 1), (1, 2, 0), (0, 1, 2)][i]
        got = executor.step(batch([text(1, s, seed=lengths[s], start=lengths[s] + i)[0] for s in order], tables))
        np.testing.assert_array_equal(got, [alone[s][lengths[s] + i] for s in order])


def test_where_the_pages_lie_changes_nothing(start: Start, mode: dict[str, Any]) -> None:
    rows = text(200)
    executor = start(**mode)
    first = executor.step(batch(rows, [[0, 1, 2, 3]])).copy()
    for table in ([7, 6, 5, 4], [3, 0, 7, 2]):
        np.testing.assert_array_equal(executor.step(batch(rows, [table])), first)


def test_sequences_share_the_pages_of_their_prefix(start: Start, mode: dict[str, Any]) -> None:
    prefix, tails = text(PAGE), [[(0, PAGE + i, t) for i, t in enumerate(tokens)] for tokens in ((3, 1, 4), (1, 5))]
    alone = [start(**mode).step(batch(prefix + tail, [[0, 1]]))[PAGE:].copy() for tail in tails]
    executor = start(**mode)
    executor.step(batch(prefix, [[4]], outputs=[]))
    rows = tails[0] + [(1, position, token) for _, position, token in tails[1]]
    np.testing.assert_array_equal(executor.step(batch(rows, [[4, 2], [4, 6]])), np.concatenate(alone))


@pytest.mark.parametrize("window", [None, 10, 70])
def test_what_others_left_in_a_page_is_not_seen(start: Start, mode: dict[str, Any], window: int | None) -> None:
    """Not even numbers that spread: they may only be met with a weight of zero."""
    program, tensors = model(window=window)
    table = tensors["table"].data.view(np.float32).copy()
    table[0] = np.nan
    poisoned = tensors | {"table": MemoryTensor("table", tensors["table"].shape, 0, table.view(np.uint8))}
    executor = start((program, poisoned), **mode)
    fresh = executor.step(batch([(0, i, 1 + i) for i in range(70)], [[0, 1]]))[:, 1:].copy()
    executor.step(batch([(0, i, 0) for i in range(4 * PAGE)], [[4, 5, 6, 7]]))
    assert np.isfinite(fresh).all()
    np.testing.assert_array_equal(executor.step(batch([(0, i, 1 + i) for i in range(70)], [[6, 5]]))[:, 1:], fresh)


def test_pages_before_the_window_are_not_touched(start: Start, mode: dict[str, Any]) -> None:
    rows, of = text(PAGE + 30), model(window=10)
    whole = start(of, **mode).step(batch(rows, [[0, 1]])).copy()
    executor = start(of, **mode)
    executor.step(batch(rows[: PAGE + 20], [[0, 1]]))
    executor.step(batch([(0, i, 9) for i in range(PAGE)], [[0]]))
    np.testing.assert_array_equal(executor.step(batch(rows[PAGE + 20 :], [[0, 1]])), whole[PAGE + 20 :])


# ---- rows ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [[68], [0], [3, 4, 60], list(range(7, 47, 2)), list(range(69))])
def test_logits_of_the_rows_asked_for(start: Start, mode: dict[str, Any], outputs: list[int]) -> None:
    executor = start(**mode)
    every = executor.step(batch(text(69), [[0, 1]])).copy()
    for _ in range(3):
        np.testing.assert_array_equal(executor.step(batch(text(69), [[0, 1]], outputs)), every[outputs])


def test_no_logits_at_all_still_fills_the_memory(start: Start, mode: dict[str, Any]) -> None:
    rows = text(40)
    want = start(**mode).step(batch(rows, [[0]]))[-1].copy()
    executor = start(**mode)
    assert executor.step(batch(rows[:-1], [[0]], outputs=[])).shape == (0, VOCAB)
    np.testing.assert_array_equal(executor.step(batch(rows[-1:], [[0]]))[0], want)


@pytest.mark.parametrize("outputs", [[68], [3, 4, 60]])
def test_hidden_rows_instead_of_logits(start: Start, mode: dict[str, Any], outputs: list[int]) -> None:
    of = model()
    rows = batch(text(69), [[0, 1]], outputs)
    ask = dataclasses.replace(rows, hidden=True)
    truth, executor = reference.compile(*of, pages=2), start(of, **mode)
    logits = executor.step(rows).copy()
    hidden = executor.step(ask).copy()
    assert hidden.shape == (len(outputs), WIDTH)
    assert nmse(hidden, truth.step(ask)) < 1e-3
    for _ in range(3):
        np.testing.assert_array_equal(executor.step(rows), logits)
        np.testing.assert_array_equal(executor.step(ask), hidden)


def test_hidden_rows_need_no_room_for_logits(start: Start) -> None:
    """An encoder has none, and gives hidden rows unasked; a program that does not mark its own cannot."""
    program, tensors = model()
    encoder = dataclasses.replace(program, ops=program.ops[:-1], logits=None, n_vocab=0)
    rows = batch(text(200), [[0, 1, 2, 3]])
    want = start((program, tensors)).step(dataclasses.replace(rows, hidden=True))
    np.testing.assert_array_equal(start((encoder, tensors)).step(rows), want)
    unmarked = dataclasses.replace(program, ops=tuple(op for op in program.ops if not isinstance(op, ops.Hidden)))
    for executor in (start((unmarked, tensors)), reference.compile(unmarked, tensors, pages=4)):
        with pytest.raises(AssertionError, match="does not mark"):
            executor.step(dataclasses.replace(rows, hidden=True))


def test_as_many_rows_as_there_is_room_for(start: Start) -> None:
    rows = text(16)
    want = start().step(batch(rows, [[0]])).copy()
    executor = start(max_rows=16)
    np.testing.assert_array_equal(executor.step(batch(rows, [[0]])), want)
    np.testing.assert_array_equal(start(max_rows=1).step(batch(rows[:1], [[0]])), want[:1])
    with pytest.raises(AssertionError, match="rows of the batch"):
        executor.step(batch(text(17), [[0]]))


def test_room_for_logits_is_bounded(start: Start) -> None:
    """A vocabulary so large that one step cannot give the logits of all its rows."""
    n = LOGITS_BYTES // 4 // 3
    program = Program((ops.Embed(_x, "table"), ops.Select(_x, _h), ops.Linear(_h, ops.View("logits", 0, n), ("out",), (None,))), {"x": 32, "h": 32, "logits": n}, (),
                      frozenset({"table", "out"}), n)   # fmt: skip
    out = MemoryTensor("out", (n, 32), 8, np.zeros((n, 34), np.uint8))
    tensors = {"table": tensor("table", np.ones((4, 32))), "out": out}
    assert most_outputs(n, 16) == 3
    executor = start((program, tensors), max_rows=16)
    assert executor.step(batch([(0, i, 0) for i in range(16)], [[0]], [1, 2, 15])).shape == (3, n)
    with pytest.raises(AssertionError, match="logits are asked for"):
        executor.step(batch([(0, i, 0) for i in range(16)], [[0]], [1, 2, 3, 4]))


NOTHING = np.zeros(0, np.int32)


@pytest.mark.parametrize(
    "wrong",
    [
        Batch(NOTHING, NOTHING, NOTHING, np.zeros((1, 1), np.int32), NOTHING),
        batch(text(3), [[8]]),
        batch(text(3), [[-1]]),
        batch(text(3), [[0]], outputs=[3]),
        batch(text(3), [[0]], outputs=[-1, 2]),
        batch(text(3), [[0]], outputs=[0, 1, 2, 2]),
    ],
    ids=["no rows", "page beyond", "page before", "output beyond", "output before", "more outputs than rows"],
)
def test_a_batch_that_does_not_fit_is_a_bug_and_does_no_harm(start: Start, wrong: Batch) -> None:
    executor = start()
    want = executor.step(batch(text(3), [[0]])).copy()
    with pytest.raises(AssertionError):
        executor.step(wrong)
    np.testing.assert_array_equal(executor.step(batch(text(3), [[0]])), want)


# ---- numbers ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", ["F32", "Q8_0", "Q4_0", "Q5_1"])
def test_close_to_the_reference(start: Start, fmt: str) -> None:
    of, rows = model(fmt), batch(text(90) + text(5, 1, seed=8), [[1, 0], [2, 2]])
    truth = reference.compile(*of, pages=3, max_rows=256).step(rows)
    assert nmse(start(of, numerics="exact", kv="f32").step(rows), truth) < 1e-11
    assert nmse(start(of, numerics="fast", kv="f16").step(rows), truth) < 1e-3


def test_half_precision_of_keys_and_values_is_small_and_real(start: Start) -> None:
    rows = batch(text(90), [[1, 0]])
    full, half = (start(numerics="exact", kv=kv).step(rows).copy() for kv in ("f32", "f16"))
    assert 0 < nmse(half, full) < 1e-6


@pytest.mark.parametrize("name", ["llama", "gemma3", "qwen3"])
def test_golden_logits_from_all_sequences_at_once(start: Start, name: str) -> None:
    with open_gguf(ORACLE / name / "model.gguf") as file, np.load(ORACLE / name / "golden.npz") as golden:
        shapes = {name: t.shape for name, t in file.tensors.items()}
        spec = spec_from(file.metadata, shapes, lambda name: by_id(file.tensors[name].type).dequantize(file.tensors[name].read()))
        program = lower(spec, shapes)
        tokens = [golden[f"tokens_{i}"].tolist() for i in range(int(golden["n_seq"]))]
        rows = [(s, i, token) for s, ids in enumerate(tokens) for i, token in enumerate(ids)]
        tables = [[3 * s + (2 * i) % 3 for i in range(3)] for s in range(len(tokens))]
        executor = start((program, file.tensors), pages=3 * len(tokens), slots=len(tokens), max_rows=len(rows), numerics="exact", kv="f32")
        logits = executor.step(batch(rows, tables))
        ends = np.cumsum([0, *map(len, tokens)])
        got = np.concatenate([logits[ends[s] + golden[f"pos_{s}"]] for s in range(len(tokens))])
        assert nmse(got, np.concatenate([golden[f"logits_{s}"] for s in range(len(tokens))])) < 1e-10


# ---- memory ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def arenas(monkeypatch: pytest.MonkeyPatch) -> dict[str, Arena]:
    """Every arena that is made, by what it is for."""
    made: dict[str, Arena] = {}

    class Recorded(Arena):
        def __init__(self, nbytes: int, what: str, huge: bool = False) -> None:
            super().__init__(nbytes, what, huge)
            made[what] = self

    monkeypatch.setattr(executor_module, "Arena", Recorded)
    monkeypatch.setattr(weights_module, "Arena", Recorded)
    return made


SOME = [case for case in float_cases() if case.name in ("norm-layer-50-1", "linear-F16-two", "rope-halves-40-20", "attention-odd", "attention-sinks", "select")]


@pytest.mark.parametrize("case", [None, *SOME], ids=lambda case: case.name if case else "model")
def test_the_plan_is_what_is_allocated(start: Start, arenas: dict[str, Arena], mode: dict[str, Any], case: Case | None) -> None:
    of = (case.program(), case.all_tensors()) if case else model()
    plan = cpu.plan(*of, pages=5, max_rows=37, numerics=mode["numerics"], kv=mode["kv"])
    executor = start(of, pages=5, max_rows=37, **mode)
    vectors = sum(-(-array.nbytes // 64) * 64 for array in executor._weights._vectors.values())
    assert plan.weights == arenas["the weights"].nbytes + vectors
    assert plan.scratch == arenas["activations"].nbytes
    assert plan.kv == arenas["key/value memory"].nbytes
    for arena in arenas.values():
        assert arena._at == arena.nbytes, "every byte is handed out"


def test_what_the_system_does_not_grant_is_a_resource_error() -> None:
    with pytest.raises(ResourceError, match="key/value memory"):
        cpu.compile(*model(), pages=1 << 40)


def test_heads_wider_than_the_kernels_compute_are_unsupported() -> None:
    for cache in (Cache(1, 1040, 16), Cache(1, 16, 1040)):
        program = Program((ops.Embed(_x, "table"),), {"x": 32, "logits": 32}, (cache,), frozenset({"table"}), 32)
        tensors = {"table": tensor("table", np.ones((4, 32)))}
        for make in (cpu.plan, cpu.compile):
            with pytest.raises(Unsupported, match="1040 wide"):
                make(program, tensors, pages=1)


# ---- life --------------------------------------------------------------------------------------------------------------------


def test_closing_ends_the_threads_and_twice_is_harmless(start: Start) -> None:
    before = set(threading.enumerate())
    executor = start(threads=3)
    assert len(set(threading.enumerate()) - before) == 2
    logits = executor.step(batch(text(3), [[0]]))
    kept = logits.copy()
    executor.close()
    executor.close()
    assert set(threading.enumerate()) <= before
    np.testing.assert_array_equal(logits, kept)   # still memory of ours
    with pytest.raises(AssertionError, match="closed"):
        executor.step(batch(text(3), [[0]]))


def test_an_executor_that_is_forgotten_ends_its_threads() -> None:
    before = set(threading.enumerate())
    executor = cpu.compile(*model(), pages=1, threads=3)
    executor.step(batch(text(3), [[0]]))
    del executor
    gc.collect()
    assert set(threading.enumerate()) <= before


def test_a_file_that_fails_in_the_middle_leaves_the_executor_usable(start: Start) -> None:
    class Failing(MemoryTensor):
        broken = False

        def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
            if self.broken:
                raise GGUFError("the file was cut short")
            return super().read(start, stop)

    program, tensors = model()
    table = Failing("table", tensors["table"].shape, 0, tensors["table"].data)
    executor = start((program, tensors | {"table": table}), threads=2)
    rows = text(5)
    want = executor.step(batch(rows, [[0]])).copy()
    table.broken = True
    for _ in range(2):
        with pytest.raises(GGUFError, match="cut short"):
            executor.step(batch(rows[:3], [[0]]))
    table.broken = False
    np.testing.assert_array_equal(executor.step(batch(rows, [[0]])), want)


def test_progress_counts_weights_then_kernels() -> None:
    calls: list[tuple[str, int, int]] = []
    cpu.compile(*model(), pages=1, threads=2, progress=lambda *call: calls.append(call)).close()
    weights = [(done, of) for what, done, of in calls if what == "weights"]
    assert weights == [(i + 1, len(weights)) for i in range(len(weights))]
    assert [what for what, _, _ in calls[: len(weights)]] == ["weights"] * len(weights)
