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
from quant.convert.config import Config
from quant.convert.pieces import encoded, pieces
from quant.convert.plan import Plan, Progress, Row
from quant.journal import journals, made_from
from quant.room import require_room


def convert(plan: Plan, out: Path, *, threads: int = 1, progress: Progress = lambda done, of: None) -> None:
    """Write the plan's file to `out`, which appears when all of it is safe on disk.

    Memory holds a few slices, or one matrix of the checkpoint where its numbers change places. What an interrupted run left is continued.
    ModelError for damaged files and for weights that a type cannot hold, ResourceError when the disk has no room, OutputError when it
    cannot be written.
    """
    require_room(out, [out], plan.nbytes)
    writer = GGUFWriter(out)
    for key, value, kind in plan.keys:
        writer.add(key, value, kind)
    before = 0
    with journals([out], sources(plan)) as (journal,), ThreadPoolExecutor(threads) as pool:

        def content(row: Row, done: int) -> Callable[[], Iterator[memoryview]]:
            def made() -> Iterator[memoryview]:
                written = done
                for piece in _bytes(row, plan.config, pool, threads):
                    progress(written, plan.nbytes)
                    written += piece.nbytes
                    yield piece

            return made

        for row in plan.rows:
            writer.add_tensor(row.name, content(row, before), row.type_id, row.shape)
            before += row.nbytes
        writer.write(journal)
        writer.publish()
    progress(plan.nbytes, plan.nbytes)


def sources(plan: Plan) -> bytes:
    """What tells a plan's sources from others: files, and numbers that are in memory."""
    tensors = [stored for row in plan.rows for stored in row.sources]
    files = {part.file: None for stored in tensors for part in stored.parts}
    held = [row.made for row in plan.rows if row.made is not None] + [array for stored in tensors for array in stored.held]
    return made_from(files, *(hashlib.sha256(np.ascontiguousarray(array).view(np.uint8).data).digest() for array in held))


def _bytes(row: Row, config: Config, pool: ThreadPoolExecutor, threads: int) -> Iterator[memoryview]:
    """The tensor's bytes, in order; read and encoded by all threads, a few slices ahead of what is written."""
    waiting: deque[Future[memoryview]] = deque()
    for piece in pieces(row, config):
        everything = piece.load(0, piece.rows) if piece.whole else None
        for start, stop in piece.slices(row.shape[-1]):
            load = piece.load if everything is None else partial(_part, everything)
            waiting.append(pool.submit(_encoded, load, start, stop, piece.dtype, row))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _encoded(load: Callable[[int, int], np.ndarray], start: int, stop: int, dtype: str, row: Row) -> memoryview:
    return encoded(load(start, stop), dtype, row)


def _part(x: np.ndarray, start: int, stop: int) -> np.ndarray:
    return x[start:stop]
