"""Writes a model file as a plan says. Knows how the work is shared among threads; `pieces.py` knows what the tensors hold."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from edgerun.gguf.writer import GGUFWriter
from quant.convert.pieces import encoded, pieces, spans
from quant.convert.plan import Plan, Progress, Row
from quant.journal import journals, made_from
from quant.room import require_room


def convert(plan: Plan, out: Path, *, threads: int = 1, progress: Progress = lambda done, of: None) -> None:
    """Write the plan's file to `out`, which appears when all of it is safe on disk.

    Bytes that stay as they are are copied by the system. Of the others memory holds a few slices, and the matrix of the checkpoint, or the
    two, that they are of where its numbers change places. What an interrupted run left is continued.
    ModelError for damaged files and for weights that a type cannot hold, ResourceError when the disk has no room, OutputError when it
    cannot be written.
    """
    require_room(out, [out], plan.nbytes)
    writer = GGUFWriter(out)
    for key, value, kind in plan.keys:
        writer.add(key, value, kind)
    with journals([out], sources(plan)) as (journal,), ThreadPoolExecutor(threads) as pool:
        slices = _Slices(plan, pool, 2 * threads)
        for number, row in enumerate(plan.rows):
            writer.add_tensor(row.name, spans(row) or partial(slices.of, number), row.type_id, row.shape)
        try:
            writer.write(journal, lambda done: progress(done, plan.nbytes))
        finally:
            slices.stop()
        writer.publish()
    progress(plan.nbytes, plan.nbytes)


def sources(plan: Plan) -> bytes:
    """What tells a plan's sources from others: files, and numbers that are in memory."""
    tensors = [stored for row in plan.rows for stored in row.sources]
    files = {part.file: None for stored in tensors for part in stored.parts}
    held = [row.made for row in plan.rows if row.made is not None] + [array for stored in tensors for array in stored.held]
    return made_from(files, *(hashlib.sha256(np.ascontiguousarray(array).view(np.uint8).data).digest() for array in held))


class _Slices:
    """The bytes of tensors, in the plan's order; read and encoded by all threads, a few slices ahead of what is written."""

    def __init__(self, plan: Plan, pool: ThreadPoolExecutor, ahead: int) -> None:
        self._plan, self._pool, self._ahead = plan, pool, ahead
        self._begun: deque[tuple[int, Future[memoryview]]] = deque()
        self._rest: Iterator[tuple[int, Future[memoryview]]] | None = None

    def of(self, number: int) -> Iterator[memoryview]:
        """Those of a tensor that is not copied. Of tensors that are asked for, the first one begins the work, also on those behind it."""
        self._rest = self._all(number) if self._rest is None else self._rest
        while True:
            while len(self._begun) < self._ahead and (following := next(self._rest, None)):
                self._begun.append(following)
            if not self._begun or self._begun[0][0] != number:
                return
            yield self._begun.popleft()[1].result()

    def stop(self) -> None:
        """Begin no more of them."""
        for _, each in self._begun:
            each.cancel()

    def _all(self, first: int) -> Iterator[tuple[int, Future[memoryview]]]:
        for number, row in enumerate(self._plan.rows[first:], first):
            for piece in () if spans(row) else pieces(row, self._plan.config):
                load = partial(_part, self._pool.submit(piece.load, 0, piece.rows)) if piece.whole else piece.load
                for start, stop in piece.slices(row.shape[-1]):
                    yield number, self._pool.submit(_encoded, load, start, stop, piece.dtype, row)


def _encoded(load: Callable[[int, int], np.ndarray], start: int, stop: int, dtype: str, row: Row) -> memoryview:
    return encoded(load(start, stop), dtype, row)


def _part(everything: Future[np.ndarray], start: int, stop: int) -> np.ndarray:
    return everything.result()[start:stop]   # begun before any part of it is asked for
