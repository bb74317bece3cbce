"""The reference executor: pages, several sequences, rows asked for, and what it keeps."""

import numpy as np
import pytest
from fake_tensor import FakeTensor

from edgerun.backends import reference
from edgerun.backends.executor import PAGE, Batch
from edgerun.graph import ops
from edgerun.graph.ops import View
from edgerun.graph.program import Cache, Program

WIDTH, VOCAB = 4, 11


def tiny(window: int | None = None) -> tuple[Program, dict[str, FakeTensor]]:
    """A one-layer attention model without positions: the logits of a row depend on what the row may see."""
    x, qkv = View("x", 0, WIDTH), View("qkv", 0, 3 * WIDTH)
    q, k, v = (qkv.part(i * WIDTH, WIDTH) for i in range(3))
    program = Program(
        ops=(
            ops.Embed(x, "table"),
            ops.Linear(x, qkv, ("qkv",), (None,)),
            ops.Store(k, v, 0),
            ops.Attention(q, x, 0, heads=2, scale=0.7, window=window),
            ops.Select(x, x),
            ops.Linear(x, View("logits", 0, VOCAB), ("table",), (None,)),
        ),
        buffers={"x": WIDTH, "qkv": 3 * WIDTH, "logits": VOCAB},
        caches=(Cache(2, 2, 2, window),),
        tensors=frozenset({"table", "qkv"}),
        n_vocab=VOCAB,
    )
    random = np.random.default_rng(3)
    weights = {"table": random.normal(size=(VOCAB, WIDTH)), "qkv": random.normal(size=(3 * WIDTH, WIDTH))}
    return program, {name: FakeTensor(name, values) for name, values in weights.items()}


def batch(rows: list[tuple[int, int, int]], tables: list[list[int]], outputs: list[int] | None = None) -> Batch:
    """rows: (sequence, position, token)."""
    sequences, positions, tokens = (np.array(column, np.int32) for column in zip(*rows, strict=True))
    wanted = np.array(range(len(rows)) if outputs is None else outputs, np.int32)
    return Batch(tokens, positions, sequences, np.array(tables, np.int32), wanted)


TOKENS = np.random.default_rng(5).integers(0, VOCAB, 150).tolist()
ROWS = [(0, i, token) for i, token in enumerate(TOKENS)]


@pytest.mark.parametrize("window", [None, 70])
def test_neither_chunks_nor_pages_change_the_logits(window: int | None) -> None:
    program, tensors = tiny(window)
    whole = reference.compile(program, tensors, pages=3).step(batch(ROWS, [[0, 1, 2]]))
    executor = reference.compile(program, tensors, pages=9)
    parts = [executor.step(batch(ROWS[i : i + 13], [[7, 2, 5]])) for i in range(0, len(ROWS), 13)]
    assert whole.dtype == np.float32
    assert whole.shape == (150, VOCAB)
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-6)


def test_sequences_share_pages_and_go_their_own_ways() -> None:
    program, tensors = tiny()
    alone = reference.compile(program, tensors, pages=3)
    want = [alone.step(batch([*ROWS[:PAGE], (0, PAGE, token)], [[0, 1]]))[-1] for token in (3, 4)]
    executor = reference.compile(program, tensors, pages=3)
    executor.step(batch(ROWS[:PAGE], [[2]], outputs=[]))
    got = executor.step(batch([(0, PAGE, 3), (1, PAGE, 4)], [[2, 0], [2, 1]]))
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_pages_before_the_window_are_not_touched() -> None:
    program, tensors = tiny(window=10)
    whole = reference.compile(program, tensors, pages=3).step(batch(ROWS[: PAGE + 21], [[0, 1]]))
    executor = reference.compile(program, tensors, pages=2)
    executor.step(batch(ROWS[: PAGE + 20], [[0, 1]]))
    got = executor.step(batch(ROWS[PAGE + 20 : PAGE + 21], [[10**6, 1]]))
    np.testing.assert_allclose(got[0], whole[-1], rtol=1e-6)


def test_a_page_used_again_forgets() -> None:
    program, tensors = tiny()
    executor = reference.compile(program, tensors, pages=1)
    first = executor.step(batch(ROWS[:5], [[0]])).copy()
    executor.step(batch([(0, i, 1) for i in range(40)], [[0]]))
    np.testing.assert_array_equal(executor.step(batch(ROWS[:5], [[0]])), first)


def test_only_the_rows_asked_for_come_back() -> None:
    program, tensors = tiny()
    executor = reference.compile(program, tensors, pages=1)
    every = executor.step(batch(ROWS[:9], [[0]]))
    np.testing.assert_allclose(executor.step(batch(ROWS[:9], [[0]], outputs=[2, 8])), every[[2, 8]], rtol=1e-6)
    assert executor.step(batch(ROWS[:9], [[0]], outputs=[])).shape == (0, VOCAB)


def test_weights_are_read_once_and_only_when_needed() -> None:
    reads = []

    class Counting(FakeTensor):
        def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
            reads.append(self.name)
            return super().read(start, stop)

    program, tensors = tiny()
    executor = reference.compile(program, {name: Counting(name, tensor.values) for name, tensor in tensors.items()}, pages=1)
    assert not reads
    for _ in range(2):
        executor.step(batch(ROWS[:2], [[0]]))
    assert sorted(reads) == ["qkv", "table"]


def test_quantized_weights_count_as_what_they_dequantize_to() -> None:
    from edgerun import formats

    program, tensors = tiny()
    q8 = formats.by_id(8)
    wide = np.random.default_rng(7).normal(size=(VOCAB, 32)).astype(np.float32)
    stored = q8.quantize(wide)

    class Quantized(FakeTensor):
        def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
            return stored[start:stop]

    executor = reference.compile(program, tensors | {"wide": Quantized("wide", wide, 8)}, pages=1)
    np.testing.assert_array_equal(executor.weight("wide"), q8.dequantize(stored).astype(np.float64))


def test_closing_twice_is_harmless() -> None:
    executor = reference.compile(*tiny(), pages=1)
    executor.close()
    executor.close()


def test_too_many_rows_are_a_bug() -> None:
    executor = reference.compile(*tiny(), pages=1, max_rows=4)
    with pytest.raises(AssertionError):
        executor.step(batch(ROWS[:5], [[0]]))
