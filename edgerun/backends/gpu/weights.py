"""Weights on a device: each matrix packed as on the CPU, in a buffer or several; vectors as floats in one buffer. Knows no op.

A matrix that is larger than what a device binds is cut at row blocks, a stack of matrices between two of them. Host memory holds
a slice at a time for each thread, and no more threads than IN_FLIGHT has room for.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from edgerun.backends.executor import Tensor
from edgerun.backends.gpu.codes import block_columns, block_words
from edgerun.backends.gpu.joining import Names, Parts
from edgerun.backends.gpu.queue import Queue
from edgerun.dataclass import dataclass
from edgerun.formats import by_id
from edgerun.formats.packing import ROWS, Packing

SLICE = 1 << 20        # packed bytes that a thread works on, or those of 16 rows
BETWEEN = 1 << 20      # bytes that a thread takes besides, while it packs
IN_FLIGHT = 40 << 20   # bytes in the memory of the host that are read or packed, besides those that the queue has staged
LARGEST = 2 << 30      # bytes of a piece at most; devices have limits of their own
MOST_BLOCKS = 65535   # row blocks of a piece: workgroups in one dimension


@dataclass(frozen=True)
class Piece:
    """Row blocks (of a stack: matrices) first:first+count of a matrix, in a buffer of their own."""

    buffer: Any
    first: int
    count: int


@dataclass(frozen=True)
class Matrix:
    """A packed matrix, or `count` of them one behind the other."""

    packing: Packing
    rows: int
    cols: int
    count: int
    pieces: tuple[Piece, ...]

    @property
    def blocks(self) -> int:
        """Blocks of 16 rows."""
        return self.cols // block_columns(self.packing)

    @property
    def words(self) -> int:
        """Words of one matrix."""
        return -(-self.rows // ROWS) * self.blocks * block_words(self.packing)


@dataclass(frozen=True)
class Job:
    """Rows start:stop of a tensor and where in a buffer they go once packed."""

    tensor: Tensor
    buffer: Any
    at: int
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        """Bytes of the rows once packed."""
        return by_id(self.tensor.type).packing.nbytes(self.stop - self.start, self.tensor.shape[-1])


def shape_of(tensor: Tensor) -> tuple[int, int, int]:
    """(matrices, rows, cols): a vector is a matrix of one row."""
    count, rows, cols = (1, 1, 1, *tensor.shape)[-3:]
    return count, rows, cols


def matrix_bytes(tensor: Tensor) -> int:
    """Bytes of a matrix, or a stack, once packed."""
    count, rows, cols = shape_of(tensor)
    return count * by_id(tensor.type).packing.nbytes(rows, cols)


def vector_words(parts: Parts, tensors: Mapping[str, Tensor]) -> int:
    """Numbers of vectors one behind the other."""
    return sum(part if isinstance(part, int) else math.prod(tensors[part].shape) for part in parts)


class Weights:
    """The matrices and vectors of a model; `load` fills them. matrices: by the names of those that are one."""

    def __init__(self, queue: Queue, tensors: Mapping[str, Tensor], matrices: Iterable[Names], vectors: Iterable[Parts]) -> None:
        self._queue, self._tensors, self._jobs = queue, tensors, list[Job]()
        limits = queue.device.facts.limits
        self._most = min(LARGEST, limits["max-buffer-size"], limits["max-storage-buffer-binding-size"])
        self.matrices = {names: self._matrix(names) for names in matrices}
        self._starts: dict[Parts, int] = {}
        at = 0
        for parts in vectors:
            self._starts[parts] = at
            at += vector_words(parts, tensors)
        self.vectors = queue.buffer(4 * at, "vectors of weights")

    def vector(self, parts: Parts) -> int:
        """Where the numbers of vectors begin."""
        return self._starts[parts]

    def load(self, threads: int = 1, progress: Callable[[int, int], None] | None = None) -> None:
        """Read, pack and upload everything, once."""
        for parts, start in self._starts.items():
            self._queue.write(self.vectors, 4 * start, np.concatenate([self._numbers(part) for part in parts]))
        jobs, self._jobs, lock, done = self._jobs, [], threading.Lock(), 0

        def work(job: Job) -> None:
            nonlocal done
            packed = _packed(job)
            with lock:
                self._queue.write(job.buffer, job.at, packed)
                done += 1
                if progress:
                    progress(done, len(jobs))

        room = IN_FLIGHT // (2 * max((job.nbytes for job in jobs), default=1) + BETWEEN)   # as they are read, and packed
        with ThreadPoolExecutor(max(1, min(threads, room))) as pool:
            try:
                for _ in pool.map(work, jobs):
                    pass
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        self._queue.wait()

    def _numbers(self, part: str | int) -> np.ndarray:
        if isinstance(part, int):
            return np.zeros(part, np.float32)
        return by_id(self._tensors[part].type).dequantize(self._tensors[part].read()).reshape(-1)

    def _matrix(self, names: Names) -> Matrix:
        tensors = [self._tensors[name] for name in names]
        count, _, cols = shape_of(tensors[0])
        rows, packing = sum(shape_of(tensor)[1] for tensor in tensors), by_id(tensors[0].type).packing
        unit, units = packing.nbytes(ROWS, cols), -(-rows // ROWS)   # bytes of what is not cut, and how many of these there are
        if count > 1:
            unit, units = unit * units, count
        each = max(1, min(self._most // unit, MOST_BLOCKS if count == 1 else units))
        pieces = []
        for first in range(0, units, each):
            n = min(each, units - first)
            pieces.append(Piece(self._queue.buffer(n * unit, f"the tensor '{names[0]}'"), first, n))
        matrix = Matrix(packing, rows, cols, count, tuple(pieces))
        self._jobs += _stack_jobs(tensors[0], matrix) if count > 1 else _jobs(tensors, matrix)
        return matrix


def _jobs(tensors: list[Tensor], matrix: Matrix) -> Iterator[Job]:
    """The slices of matrices one below the other; all but the last fill row blocks."""
    line, below = matrix.packing.nbytes(ROWS, matrix.cols), 0
    step = max(1, SLICE // line) * ROWS
    for tensor in tensors:
        rows = shape_of(tensor)[1]
        for piece in matrix.pieces:
            first, last = max(0, piece.first * ROWS - below), min(rows, (piece.first + piece.count) * ROWS - below)
            for start in range(first, last, step):
                yield Job(tensor, piece.buffer, ((below + start) // ROWS - piece.first) * line, start, min(last, start + step))
        below += rows


def _stack_jobs(tensor: Tensor, matrix: Matrix) -> Iterator[Job]:
    """The slices of a stack, of which every matrix begins with a row block of its own."""
    line = matrix.packing.nbytes(ROWS, matrix.cols)
    step = max(1, SLICE // line) * ROWS
    for piece in matrix.pieces:
        for i in range(piece.count):
            first = (piece.first + i) * matrix.rows
            for start in range(0, matrix.rows, step):
                stop = min(matrix.rows, start + step)
                yield Job(tensor, piece.buffer, 4 * i * matrix.words + start // ROWS * line, first + start, first + stop)


def _packed(job: Job) -> np.ndarray:
    """The rows as they are on the device."""
    fmt = by_id(job.tensor.type)
    raw = job.tensor.read(job.start, job.stop)
    cols = job.tensor.shape[-1]
    out = np.empty((-(-len(raw) // ROWS), fmt.packing.nbytes(ROWS, cols)), np.uint8)
    fmt.repack(raw, out)
    return out
