"""Which rows go into the next step, and the batch made of them. Knows no executor: it is told how long a step took.

A step is one native call that no Ctrl-C interrupts, so prompts go in chunks of about TARGET seconds. The first chunk has
FIRST rows, the next follow the measured speed, down to LEAST: a step reads all weights, however few its rows are. Backends compute
the same bits whatever the chunk, so only the clock notices.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edgerun.backends.executor import Batch
from edgerun.dataclass import dataclass
from edgerun.engine.sequence import Sequence

TARGET = 0.12   # seconds of one step: with the rest of the work around it, Ctrl-C is answered well within 0.3 s
FIRST = 64      # rows of the first chunk: a question in its template. The first step reads the weights, and a second waits for memory to keep them in
LEAST = 32      # rows below which a prompt would take much longer: 16 have 0.8 of the speed, 1 a quarter (Q4_K, 1.8 G weights, two cores)
TILE = 16       # rows that fill the kernels' tiles
GROWTH = 4      # most that one measurement may enlarge a chunk


@dataclass(frozen=True)
class Turn:
    """Positions start:stop of a sequence, to be evaluated in the next step."""

    sequence: Sequence
    start: int
    stop: int


class Scheduler:
    """The policy. `chunk` fixes the number of prompt rows per step; without it they follow the measured speed."""

    def __init__(self, max_rows: int, chunk: int | None = None) -> None:
        self.max_rows = max_rows
        self.adaptive = chunk is None
        self.chunk = min(chunk or FIRST, max_rows)

    def next(self, sequences: Iterable[Sequence]) -> list[Turn]:
        """The turns of the next step: every sequence that waits for one token, then prompts in the order given."""
        waiting = [s for s in sequences if s.pending]
        # decode: one row each, so that nobody who reads along waits for somebody else's prompt
        turns = [Turn(s, s.done, s.done + 1) for s in waiting if s.pending == 1][: self.max_rows]
        # prefill: one chunk of rows, shared by the prompts in front
        room = min(self.chunk, self.max_rows - len(turns))
        for s in waiting:
            if s.pending > 1 and room:
                rows = min(s.pending, room)
                if s.done < s.pause:
                    rows = min(rows, s.pause - s.done)
                turns.append(Turn(s, s.done, s.done + rows))
                room -= rows
        return turns

    def took(self, rows: int, seconds: float) -> None:
        """Learn from a step of that many rows. One smaller than a chunk tells only when it was too slow already."""
        if not self.adaptive or rows < LEAST or (rows < self.chunk and seconds <= TARGET):
            return
        fit = min(int(rows * TARGET / max(seconds, 1e-6)), GROWTH * rows)
        self.chunk = min(max(LEAST, fit - fit % TILE), self.max_rows)


def batch_of(turns: list[Turn]) -> Batch:
    """The rows of some turns as a batch, asking for the logits their sequences want."""
    tokens: list[int] = []
    positions: list[int] = []
    outputs: list[int] = []
    for turn in turns:
        first = len(tokens) - turn.start   # row of position 0, if it were in the batch
        outputs.extend(range(first + max(turn.start, turn.sequence.wanted), first + turn.stop))
        tokens.extend(turn.sequence.tokens[turn.start : turn.stop])
        positions.extend(range(turn.start, turn.stop))
    tables = np.zeros((len(turns), max(len(t.sequence.pages) for t in turns)), np.int32)
    for table, turn in zip(tables, turns, strict=True):
        table[: len(turn.sequence.pages)] = turn.sequence.pages
    return Batch(
        tokens=np.array(tokens, np.int32),
        positions=np.array(positions, np.int32),
        sequences=np.repeat(np.arange(len(turns), dtype=np.int32), [t.stop - t.start for t in turns]),
        tables=tables,
        outputs=np.array(outputs, np.int32),
        lengths=np.array([len(turn.sequence.tokens) for turn in turns], np.int32),
    )
