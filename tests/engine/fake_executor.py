"""An executor without a model: its logits are a hash of every token it reads back through the page tables.

Pages hold (token, position) pairs, and every read checks the position, so a wrong table, position or order fails here.
"""

from __future__ import annotations

import hashlib

import numpy as np

from edgerun.backends.executor import PAGE, Batch


class FakeExecutor:
    def __init__(self, pages: int = 8, n_vocab: int = 50, max_rows: int = 64, horizons: tuple[int, ...] = ()) -> None:
        self.pages = pages
        self.n_vocab = n_vocab
        self.max_rows = max_rows
        self.slots, self.reach, self.horizons = 0, 0, horizons
        self.memory = np.full((pages, PAGE, 2), -1, np.int64)
        self.steps: list[int] = []
        self.interrupt_at: int | None = None   # row before which a step is interrupted, counted over all steps
        self.closed = False

    def step(self, batch: Batch) -> np.ndarray:
        rows = len(batch.tokens)
        assert 0 < rows <= self.max_rows
        assert {a.dtype for a in (batch.tokens, batch.positions, batch.sequences, batch.tables, batch.outputs)} == {np.dtype(np.int32)}
        assert len(batch.positions) == len(batch.sequences) == rows
        assert (np.diff(batch.outputs) > 0).all()
        assert (np.diff(batch.sequences) >= 0).all()
        self.steps.append(rows)
        asked, logits = set(batch.outputs.tolist()), []
        for row in range(rows):
            if self.interrupt_at is not None:
                if self.interrupt_at == 0:
                    self.interrupt_at = None
                    raise KeyboardInterrupt
                self.interrupt_at -= 1
            table, position = batch.tables[batch.sequences[row]], int(batch.positions[row])
            # Beyond a horizon every token counts for another one, those before it too.
            token = batch.tokens[row] + 1000 * sum(batch.lengths[batch.sequences[row]] > h for h in self.horizons)
            self.memory[table[position // PAGE], position % PAGE] = token, position
            if row in asked:
                logits.append(self.read(table, position))
        return np.stack(logits) if logits else np.zeros((0, self.n_vocab), np.float32)

    def read(self, table: np.ndarray, position: int) -> np.ndarray:
        used = table[: position // PAGE + 1]
        held = self.memory[used].reshape(-1, 2)[: position + 1]
        assert (held[:, 1] == np.arange(position + 1)).all(), "a position was read that its sequence did not write"
        return truth(held[:, 0], self.n_vocab)

    def close(self) -> None:
        self.closed = True


class RecurrentExecutor(FakeExecutor):
    """One whose logits also depend on a state: the tokens that a slot has seen since position 0, whatever the pages say."""

    def __init__(self, pages: int = 8, n_vocab: int = 50, max_rows: int = 64) -> None:
        super().__init__(pages, n_vocab, max_rows)
        self.slots = 2
        self.states: list[list[int]] = [[-1], [-1]]
        self.copies = 0

    def step(self, batch: Batch) -> np.ndarray:
        for row, position in enumerate(batch.positions.tolist()):
            if self.interrupt_at == row:
                break
            if position == 0:
                self.states[0] = []
            assert len(self.states[0]) == position, "the state stands somewhere else"
            self.states[0].append(int(batch.tokens[row]))
        logits = super().step(batch)
        for row, logit in zip(batch.outputs.tolist(), logits, strict=True):
            assert (logit == truth(self.states[0][: int(batch.positions[row]) + 1], self.n_vocab)).all()
        return logits

    def copy_state(self, source: int, target: int) -> None:
        self.states[target] = list(self.states[source])
        self.copies += 1


class RingExecutor(FakeExecutor):
    """One that also keeps the last positions in a ring: every row finds there what it and the `window` before it were."""

    window, ring = 20, 128

    def __init__(self, pages: int = 8, n_vocab: int = 50, max_rows: int = 64) -> None:
        super().__init__(pages, n_vocab, max_rows)
        self.slots, self.reach = 2, self.ring - self.window + 1
        self.rings = [[(-1, -1)] * self.ring for _ in range(2)]
        self.copies = 0

    def step(self, batch: Batch) -> np.ndarray:
        live, rows = self.rings[0], list(zip(batch.positions.tolist(), batch.tokens.tolist(), strict=True))
        for row, (position, token) in enumerate(rows):
            if self.interrupt_at == row:
                break
            live[position % self.ring] = position, token
        logits = super().step(batch)
        for position, _ in rows:
            table = batch.tables[0]
            for seen in range(max(0, position - self.window + 1), position + 1):
                assert live[seen % self.ring] == (seen, self.memory[table[seen // PAGE], seen % PAGE, 0]), "the ring has lost it"
        return logits

    def copy_state(self, source: int, target: int) -> None:
        self.rings[target] = list(self.rings[source])
        self.copies += 1


def truth(tokens: np.ndarray | list[int], n_vocab: int) -> np.ndarray:
    """The logits after `tokens`, float32 [n_vocab]."""
    digest = hashlib.blake2b(np.asarray(tokens, np.int64).tobytes()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8])).standard_normal(n_vocab).astype(np.float32)


def greedy(logits: np.ndarray, position: int, tokens: list[int]) -> int:
    assert position == len(tokens)
    return int(logits.argmax())


def expected(prompt: list[int], count: int, n_vocab: int = 50) -> list[int]:
    """What greedy decoding continues `prompt` with."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(truth(tokens, n_vocab).argmax()))
    return tokens[len(prompt) :]
