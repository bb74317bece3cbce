"""Writes a model file anew with other types, as a plan says. Knows how to cut the work; the formats know how to encode."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edgerun.errors import ModelError
from edgerun.formats import by_id, by_name
from edgerun.gguf import GGUF
from edgerun.gguf.writer import GGUFWriter
from quant.edit import Change, copy_metadata, refuse_source, spans
from quant.importance import Importance
from quant.journal import journals, made_from
from quant.plan import Plan, Row
from quant.room import require_room
from quant.rounding import slices

Progress = Callable[[int, int], None]   # (bytes of tensors written, of)
Encode = Callable[[Row, ThreadPoolExecutor], np.ndarray | None]   # a tensor's new bytes, uint8 [rows, bytes per row]; None: as usual

_SLICE = 1 << 17          # weights that one thread takes at a time
_QUANTIZATION_VERSION = 2   # of the block formats (GGML_QNT_VERSION)


def usual(row: Row, pool: ThreadPoolExecutor) -> np.ndarray | None:
    """No tensor is encoded in a way of its own."""
    return None


def quantize(
    file: GGUF,
    plan: Plan,
    out: Path,
    *,
    importance: Importance | None = None,
    encode: Encode = usual,
    decided_by: bytes = b"",
    threads: int = 1,
    changes: Sequence[Change] = (),
    removed: Collection[str] = (),
    most: int | None = None,
    progress: Progress = lambda done, of: None,
) -> list[Path]:
    """Write the plan's file to `out`, or, where it is larger than `most` bytes, to several; which. Nothing is there until all of it is.

    Memory holds two tensors and a few slices. `encode` may make the bytes of some tensors in its own way; decided_by: a digest of what it goes
    by. What an interrupted run left is continued. UsageError when `out` is the source, ModelError for weights that a type cannot hold,
    ResourceError when the disk has no room, OutputError when it cannot be written.
    """
    groups = _groups(plan.rows, most)
    paths = [out] if len(groups) == 1 else [_part_name(out, i, len(groups)) for i in range(len(groups))]
    refuse_source(file, out, paths)
    require_room(out, paths, plan.nbytes)
    stated = [Change("general.file_type", plan.recipe.file_type, "u32"), Change("general.quantization_version", _QUANTIZATION_VERSION, "u32")]
    with journals(paths, made_from(file.files, *_digests(importance), decided_by)) as kept, ThreadPoolExecutor(threads) as pool:
        worker = _Worker(pool, importance, encode)
        writers = [GGUFWriter(path) for path in paths]
        copy_metadata(file.metadata, writers[0], [*stated, *changes], removed)
        for number, (writer, rows) in enumerate(zip(writers, groups, strict=True)):
            if len(groups) > 1:
                writer.add("split.no", number, "u16")
                writer.add("split.count", len(groups), "u16")
                writer.add("split.tensors.count", len(plan.rows), "i32")
            for row in rows:
                made = worker.bytes_of(row)
                writer.add_tensor(row.tensor.name, made if row.changes else spans(row.tensor) or made, row.type_id, row.tensor.shape)
        try:
            before = 0
            for writer, journal, rows in zip(writers, kept, groups, strict=True):
                writer.write(journal, partial(_tell, progress, plan.nbytes, before))
                before += sum(row.nbytes for row in rows)
            for writer in reversed(writers):   # the first part, without which there is no model, comes last
                writer.publish()
        except Exception:
            for writer in writers:
                writer.discard()
            raise
        finally:
            worker.stop()
    progress(plan.nbytes, plan.nbytes)
    return paths


def _tell(progress: Progress, of: int, before: int, done: int) -> None:
    progress(before + done, of)


def _digests(importance: Importance | None) -> Iterator[bytes]:
    """What the new weights depend on besides the source."""
    for name in importance or ():
        yield name.encode("utf-8", "surrogateescape")
        if importance:
            yield importance[name].tobytes()


def _groups(rows: Sequence[Row], most: int | None) -> list[list[Row]]:
    """The tensors of each part: as many as stay below `most` bytes, one at least."""
    groups: list[list[Row]] = [[]]
    size = 0
    for row in rows:
        if most is not None and groups[-1] and size + row.nbytes > most:
            groups.append([])
            size = 0
        groups[-1].append(row)
        size += row.nbytes
    return groups


def _part_name(out: Path, index: int, count: int) -> Path:
    """llama.cpp's names of the parts of a split model."""
    return out.with_name(f"{out.name.removesuffix('.gguf')}-{index + 1:05}-of-{count:05}.gguf")


@dataclass(frozen=True)
class _Job:
    """A tensor that is being encoded: all of `out` is there when all slices are done."""

    out: np.ndarray
    slices: Sequence[Future[None]]


class _Worker:
    """Makes the bytes of one tensor after another, with all threads on each; while one is written, the next one is begun."""

    def __init__(self, pool: ThreadPoolExecutor, importance: Importance | None, encode: Encode) -> None:
        self._pool, self._importance, self._encode = pool, importance, encode
        self._rows: list[Row] = []
        self._begun: dict[int, _Job] = {}

    def bytes_of(self, row: Row) -> Callable[[], memoryview]:
        """A function that gives the tensor's new bytes when they are to be written."""

        number = len(self._rows)
        self._rows.append(row)

        def made() -> memoryview:
            content = self._encoded(number) if row.changes else row.tensor.read()
            return content.reshape(-1).data

        return made

    def stop(self) -> None:
        """Begin no more slices."""
        for job in self._begun.values():
            for each in job.slices:
                each.cancel()

    def _encoded(self, number: int) -> np.ndarray:
        if (made := self._encode(self._rows[number], self._pool)) is not None:
            return made
        if number not in self._begun:
            self._begun[number] = self._begin(number)
        if self._encode is usual and number + 1 < len(self._rows) and self._rows[number + 1].changes:
            self._begun[number + 1] = self._begin(number + 1)
        for each in self._begun[number].slices:
            each.result()
        return self._begun.pop(number).out

    def _begin(self, number: int) -> _Job:
        row = self._rows[number]
        tensor, source, target = row.tensor, by_id(row.tensor.type), by_name(row.type)
        weights = self._importance.of(tensor.name, tensor.shape) if self._importance else None
        out = np.empty((tensor.rows, target.row_bytes(tensor.shape[-1])), np.uint8)

        def encode(matrix: int, start: int, stop: int) -> None:
            x = source.dequantize(tensor.read(start, stop))
            try:
                out[start:stop] = target.quantize(x, None if weights is None else weights[matrix])
            except ModelError as error:
                raise ModelError(f"tensor {tensor.name!a}, from row {start} on: {error}") from None

        return _Job(out, [self._pool.submit(encode, *part) for part in slices(tensor.shape, _SLICE)])
