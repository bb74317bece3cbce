"""Texts to vectors: which rows make them, how texts share steps, and what is refused."""

import numpy as np
import pytest

from edgerun.backends.executor import PAGE, Batch
from edgerun.engine.embedder import Embedder, normalised
from edgerun.engine.kvcache import PagePool
from edgerun.errors import UsageError

CONTEXT, VOCAB = 200, 50


class Rows:
    """An executor whose hidden row is (token, position, tokens of its sequence in memory, their sum), read back through the pages."""

    n_vocab, pages, max_rows, slots = 3, -(-CONTEXT // PAGE), 256, 0

    def __init__(self) -> None:
        self.memory = np.full((self.pages, PAGE), -1, np.int64)
        self.steps: list[list[int]] = []   # rows of each sequence

    def step(self, batch: Batch) -> np.ndarray:
        assert len(batch.tokens) <= self.max_rows
        pages = batch.tables[batch.sequences, batch.positions // PAGE]
        self.memory[pages, batch.positions % PAGE] = batch.tokens
        self.steps.append(np.bincount(batch.sequences).tolist())
        rows = []
        for i in batch.outputs:
            ends = batch.positions[batch.sequences == batch.sequences[i]].max() + 1
            held = self.memory[batch.tables[batch.sequences[i]]].reshape(-1)[:ends]
            rows.append([batch.tokens[i], batch.positions[i], ends, held.sum()])
        result = np.array(rows, np.float32).reshape(-1, 4)
        return result if batch.hidden else -result[:, :3]

    def close(self) -> None:
        pass


def embedder(causal: bool = False) -> tuple[Embedder, Rows]:
    executor = Rows()
    return Embedder(executor, PagePool(executor.pages), CONTEXT, VOCAB, causal), executor


TEXTS = [np.random.default_rng(n).integers(0, VOCAB, n).tolist() for n in (3, 1, 130, 64, 65, 2, 200, 7)]


def truth(pooling: str, text: list[int]) -> np.ndarray:
    rows = np.array([[token, i, len(text), sum(text)] for i, token in enumerate(text)], np.float32)
    return {"mean": rows.mean(0, dtype=np.float64).astype(np.float32), "cls": rows[0], "last": rows[-1], "none": rows}[pooling]


@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "none"])
def test_an_encoder_reads_each_text_in_one_step(pooling: str) -> None:
    by, executor = embedder()
    for text, vector in zip(TEXTS, by.vectors(TEXTS, pooling), strict=True):
        assert vector.dtype == np.float32
        np.testing.assert_array_equal(vector, truth(pooling, text))
    assert [n for step in executor.steps for n in step] == [len(text) for text in TEXTS]
    assert len(executor.steps) < len(TEXTS)
    assert len(by.pool.free) == executor.pages


@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "none"])
def test_a_decoder_reads_long_texts_in_chunks(pooling: str) -> None:
    """The rows then are what the sequence held at the time, but for the last one."""
    by, executor = embedder(causal=True)
    found = list(by.vectors(TEXTS, pooling))
    if pooling == "last":
        np.testing.assert_array_equal(found, [truth("last", text) for text in TEXTS])
    columns = [row[..., :1] for row in found]
    for text, column in zip(TEXTS, columns, strict=True):
        np.testing.assert_array_equal(column, truth(pooling, text)[..., :1])
    parts = [n for step in executor.steps for n in step]
    assert len(parts) > len(TEXTS)
    assert sum(parts) == sum(map(len, TEXTS))
    assert len(by.pool.free) == executor.pages


def test_scores_are_of_one_row() -> None:
    by, _ = embedder()
    found = np.stack(list(by.scores(TEXTS, "cls")))
    np.testing.assert_array_equal(found, [-truth("cls", text)[:3] for text in TEXTS])


@pytest.mark.parametrize(
    ("texts", "pooling", "message"),
    [
        ([[1], []], "mean", "text 2 is empty"),
        ([[1], [2] * 201], "mean", "text 2 has 201 tokens, the context 200; use -c 201"),
        ([[1, 50]], "mean", "token id 50 of text 1 is not in the vocabulary of 50 tokens"),
        ([[-1]], "mean", "token id -1"),
        ([[1]], "max", "pooling 'max' is not known; use one of mean, cls, last, none"),
    ],
)
def test_what_cannot_be_read_is_refused_before_anything_is(texts: list[list[int]], pooling: str, message: str) -> None:
    by, executor = embedder()
    with pytest.raises(UsageError, match=message):
        by.vectors(texts, pooling)
    assert not executor.steps


def test_unit_length() -> None:
    rows = normalised(np.array([[3.0, 4.0], [0.0, 0.0], [1e-30, 0.0]], np.float32))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0], [1, 0]], rtol=1e-6)


def test_texts_that_need_a_slot_come_one_by_one() -> None:
    by, executor = embedder(causal=True)
    executor.slots = 2
    for text, vector in zip(TEXTS, by.vectors(TEXTS, "last"), strict=True):
        np.testing.assert_array_equal(vector[:2], truth("last", text)[:2])
    assert {len(step) for step in executor.steps} == {1}
