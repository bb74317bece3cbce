"""Texts, as token ids, to rows of numbers: hidden rows pooled to a vector each, or a classifier's scores. Knows token ids only.

Several texts share a step, each in pages of its own, and a result has the same bits whatever it shared the step with. A
decoder reads a long text in chunks; an encoder, in which every position sees all others, reads each text in one step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Ids
from dataclasses import replace
from time import perf_counter

import numpy as np

from edgerun.backends.executor import Executor
from edgerun.engine.kvcache import PagePool, pages_for
from edgerun.engine.scheduler import Scheduler, Turn, batch_of
from edgerun.engine.sequence import Sequence
from edgerun.errors import UsageError

# Which rows of a text a pooling is made of.
POOLINGS = {"mean": slice(None), "cls": slice(0, 1), "last": slice(-1, None), "none": slice(None)}


class Embedder:
    """Reads texts of at most `context` tokens below n_vocab.

    pool: the pages of the executor, all free, which nobody else may take meanwhile. causal: whether a text may come in chunks.
    """

    def __init__(self, executor: Executor, pool: PagePool, context: int, n_vocab: int, causal: bool) -> None:
        self.executor, self.pool, self.context, self.n_vocab, self.causal = executor, pool, context, n_vocab, causal
        self._scheduler = Scheduler(executor.max_rows)

    def vectors(self, texts: Ids[Ids[int]], pooling: str) -> Iterator[np.ndarray]:
        """One float32 [width] for each text in order; with pooling none its rows, float32 [tokens, width].

        mean: of all rows; cls: the first row; last: the last one. UsageError at once for a text that is empty, too long, or
        holds an id that the model does not have.
        """
        if pooling not in POOLINGS:
            raise UsageError(f"pooling {pooling[:40]!a} is not known; use one of {', '.join(POOLINGS)}")
        self._check(texts)
        rows = self._read(texts, POOLINGS[pooling], hidden=True)
        # The mean of one array of all rows: in which chunks they came changes no bit.
        return rows if pooling == "none" else (r.mean(axis=0, dtype=np.float64).astype(np.float32) for r in rows)

    def scores(self, texts: Ids[Ids[int]], pooling: str) -> Iterator[np.ndarray]:
        """What the model's classifier says of each text at one row of it: float32 [labels]. Errors as above."""
        assert pooling in ("cls", "last"), pooling
        self._check(texts)
        return (rows[0] for rows in self._read(texts, POOLINGS[pooling], hidden=False))

    def _check(self, texts: Ids[Ids[int]]) -> None:
        for number, ids in enumerate(texts, 1):
            if not len(ids):
                raise UsageError(f"text {number} is empty and the model has no token to begin a text with; give at least one token")
            if len(ids) > self.context:
                raise UsageError(f"text {number} has {len(ids)} tokens, the context {self.context}; use -c {len(ids)} if the model can, or shorter texts")
            bad = next((i for i in ids if not 0 <= i < self.n_vocab), None)
            if bad is not None:
                raise UsageError(f"token id {bad} of text {number} is not in the vocabulary of {self.n_vocab} tokens")

    def _read(self, texts: Ids[Ids[int]], wanted: slice, hidden: bool) -> Iterator[np.ndarray]:
        """The wanted rows of each text, hidden rows or logits: float32 [rows, width]."""
        waiting, kept = deque(Sequence(list(ids)) for ids in texts), list[np.ndarray]()
        while waiting:
            turns = self._turns(waiting)
            asked = [range(len(turn.sequence.tokens))[wanted] for turn in turns]
            asked = [range(max(turn.start, rows.start), min(turn.stop, rows.stop)) for turn, rows in zip(turns, asked, strict=True)]
            step = iter(self._step(turns, asked, hidden))
            for turn, rows in zip(turns, asked, strict=True):
                kept += [next(step) for _ in rows]
                if not turn.sequence.pending:   # only the last one of a step may go on
                    waiting.popleft().cut(self.pool, 0)
                    yield np.stack(kept)
                    kept = []

    def _turns(self, waiting: Iterable[Sequence]) -> list[Turn]:
        """The texts of the next step: as many rows as a chunk has, and whole texts where the model reads them so."""
        turns, room, pages = list[Turn](), self._scheduler.chunk, len(self.pool.free)
        for text in waiting:
            rows = min(text.pending, room) if self.causal else text.pending
            pages -= pages_for(text.done + rows) - len(text.pages)
            if not rows or (turns and (rows > room or pages < 0 or self.executor.slots)):
                break   # where a text needs a slot, it has the first one for itself
            turns.append(Turn(text, text.done, text.done + rows))
            room -= rows
        return turns

    def _step(self, turns: list[Turn], asked: list[range], hidden: bool) -> np.ndarray:
        """Run the turns; the rows at the positions asked for, float32 [rows, width]."""
        for turn in turns:
            turn.sequence.grow(self.pool, turn.stop)
        batch, outputs, first = batch_of(turns), list[int](), 0
        for turn, positions in zip(turns, asked, strict=True):
            outputs += [first + position - turn.start for position in positions]
            first += turn.stop - turn.start
        begun = perf_counter()
        rows = self.executor.step(replace(batch, outputs=np.array(outputs, np.int32), hidden=hidden)).copy()
        self._scheduler.took(len(batch.tokens), perf_counter() - begun)
        for turn in turns:
            turn.sequence.done = turn.stop
        return rows


def normalised(vectors: np.ndarray) -> np.ndarray:
    """The rows with unit length, float32; zeros stay zeros."""
    lengths = np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=-1, keepdims=True))
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
