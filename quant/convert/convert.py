"""Writes a model file as a plan says. Knows how tensors are read, moved and encoded in pieces; the plan knows what they become."""

from __future__ import annotations

import math
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from edgerun.errors import ModelError, ResourceError
from edgerun.formats import by_name
from edgerun.gguf.file import shown
from edgerun.gguf.writer import GGUFWriter
from quant.convert.checkpoint import Stored, as_floats
from quant.convert.config import Config
from quant.convert.family import Move
from quant.convert.plan import Plan, Progress, Row, moved

_SLICE = 1 << 20   # weights that one thread takes at a time


def convert(plan: Plan, out: Path, *, threads: int = 1, progress: Progress = lambda done, of: None) -> None:
    """Write the plan's file to `out`, which appears when all of it is safe on disk.

    Memory holds a few slices, or one matrix of the checkpoint where its numbers change places. ModelError for damaged files and for
    weights that a type cannot hold, ResourceError when the disk has no room, OutputError when it cannot be written.
    """
    _require_room(plan, out)
    writer = GGUFWriter(out)
    for key, value, kind in plan.keys:
        writer.add(key, value, kind)
    done = 0
    with ThreadPoolExecutor(threads) as pool:

        def pieces(row: Row) -> Callable[[], Iterator[memoryview]]:
            def made() -> Iterator[memoryview]:
                nonlocal done
                for piece in _pieces(row, plan.config, pool, threads):
                    progress(done, plan.nbytes)
                    done += piece.nbytes
                    yield piece

            return made

        for row in plan.rows:
            writer.add_tensor(row.name, pieces(row), row.type_id, row.shape)
        writer.close()
    progress(plan.nbytes, plan.nbytes)


def _require_room(plan: Plan, out: Path) -> None:
    try:
        free = shutil.disk_usage(out.parent).free
    except OSError:
        return   # writing will say what is wrong
    if free < plan.nbytes:
        raise ResourceError(f"{shown(str(out), 1000)}: {plan.nbytes} bytes will be needed and {free} are free there; make room or name another place")


def _pieces(row: Row, config: Config, pool: ThreadPoolExecutor, threads: int) -> Iterator[memoryview]:
    """The tensor's bytes, in order; encoded by all threads, a few slices ahead of the disk."""
    waiting: deque[Future[memoryview]] = deque()
    for dtype, x in _arrays(row, config):
        rows = x.reshape(-1, x.shape[-1])
        step = max(1, _SLICE // x.shape[-1])
        for start in range(0, len(rows), step):
            waiting.append(pool.submit(_encoded, rows[start : start + step], dtype, row))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _arrays(row: Row, config: Config) -> Iterator[tuple[str, np.ndarray]]:
    """Contiguous parts of the tensor in their order, each with its dtype as the checkpoint calls it."""
    if row.made is not None:
        yield "F32", row.made
    for stored in row.sources:
        if row.to.move is None and row.to.value is None:
            yield from ((stored.dtype, part) for part in _slices(stored))
        elif row.to.stack and len(stored.shape) > 2:
            yield from ((stored.dtype, np.ascontiguousarray(moved(stored.read(i, i + 1)[0], stored, row.to, config))) for i in range(stored.shape[0]))
        else:
            x = moved(stored.read(), stored, row.to, config)
            yield (stored.dtype, np.ascontiguousarray(x)) if row.to.value is None else ("F32", _computed(x, row.to.value, stored, config))
    if row.to.rows is not None:
        yield from (("F32", np.zeros((1, row.shape[-1]), np.float32)) for _ in range(row.shape[0] - row.sources[0].shape[0]))


def _computed(x: np.ndarray, value: Move, stored: Stored, config: Config) -> np.ndarray:
    """Other numbers in the places of `x`, float32. ModelError when their count does not fit config.json."""
    try:
        result = value(as_floats(x, stored.dtype), config)
    except ValueError:
        result = None
    if result is None or result.shape != x.shape:
        raise ModelError(f"tensor {shown(stored.name)} has the shape {list(stored.shape)}, which does not fit the widths in config.json")
    return np.ascontiguousarray(result, np.float32)


def _slices(stored: Stored) -> Iterator[np.ndarray]:
    """The tensor, some rows at a time."""
    rows = stored.shape[0] if stored.shape else 1
    step = max(1, _SLICE * rows // max(1, math.prod(stored.shape)))
    return (stored.read(start, min(start + step, rows)) for start in range(0, rows, step))


def _encoded(x: np.ndarray, dtype: str, row: Row) -> memoryview:
    """Bytes of rows, [rows, columns], in the tensor's type. ModelError when it cannot hold them."""
    if dtype == row.type:
        return x.view(np.uint8).reshape(-1).data
    values = as_floats(x, dtype)
    try:
        if row.type == "F16":
            with np.errstate(over="raise"):
                return values.astype("<f2").reshape(-1).view(np.uint8).data
        return by_name(row.type).quantize(values).reshape(-1).data
    except FloatingPointError:
        beyond = f"has a weight of {np.abs(values).max():.3g}, beyond the 65504 of F16; use --outtype bf16 or f32"
        raise ModelError(f"tensor {shown(row.name)} {beyond}") from None
    except ModelError as error:
        raise ModelError(f"tensor {shown(row.name)}: {error}") from None
