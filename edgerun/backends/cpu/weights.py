"""Weights in memory as the kernels want them: matrices repacked, vectors as float32. Knows no op and no kernel.

`fast` keeps each matrix in its format; `exact` turns everything into float32. Bytes are read from the file in slices that
stay in L2, so the file's pages never add to the memory in use.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from edgerun.backends.cpu.arena import Arena, aligned
from edgerun.backends.cpu.kernels.control import RECORD
from edgerun.backends.cpu.moves import Moves, moves_of
from edgerun.backends.cpu.native import Linked
from edgerun.backends.cpu.raw import Raw, possible, raw_bytes, servable
from edgerun.backends.executor import Tensor
from edgerun.dataclass import dataclass
from edgerun.formats import by_id
from edgerun.formats.packing import ROWS, Packing, Parts, pack

SLICE = 1 << 19   # bytes of file per slice: source, temporaries and result fit in L2
EXACT = Packing(kind="f32")


@dataclass(frozen=True)
class Matrix:
    """A packed matrix, or `count` of them one behind the other: its kernel's name, its packing, where it lies.

    raw: where the records lie of matrices that are in the file's mapping (`raw.py`), 0 for others.
    """

    kernel: str
    packing: Packing
    rows: int
    cols: int
    address: int
    count: int = 1
    raw: int = 0

    def part(self, i: int) -> Matrix:
        """Number i of them."""
        return dataclasses.replace(self, address=self.address + i * self.nbytes, count=1, raw=self.raw and self.raw + i * RECORD)

    @property
    def nbytes(self) -> int:
        """Bytes of one of them."""
        return self.packing.nbytes(self.rows, self.cols)

    @property
    def block_bytes(self) -> int:
        """Bytes of 16 rows."""
        return self.packing.nbytes(ROWS, self.cols)


@dataclass(frozen=True)
class Job:
    """Rows start:stop of a tensor, to be packed in `room`, uint8 [row blocks, bytes] of their own."""

    tensor: Tensor
    room: np.ndarray
    start: int
    stop: int


def shape_of(tensor: Tensor) -> tuple[int, int, int]:
    """(matrices, rows, cols): a vector is a matrix of one row."""
    count, rows, cols = (1, 1, 1, *tensor.shape)[-3:]
    return count, rows, cols


def packing_of(tensor: Tensor, exact: bool) -> Packing:
    """The packed form a matrix will have."""
    return EXACT if exact else by_id(tensor.type).packing


def kernel_of(tensor: Tensor, exact: bool) -> str:
    """The kernel that multiplies with it."""
    packing = packing_of(tensor, exact)
    return f"product-{by_id(tensor.type).name}" if packing.kind == "code" else f"product_float-{packing.kind}"


def matrix_bytes(tensor: Tensor, exact: bool) -> int:
    """Bytes it takes when packed."""
    count, rows, cols = shape_of(tensor)
    return aligned(count * packing_of(tensor, exact).nbytes(rows, cols))


def unpacked(tensors: Sequence[Tensor], exact: bool, repack: str) -> list[Tensor]:
    """The matrices that are not repacked at once. repack: now, later or never, as `Weights` has it."""
    return [] if repack == "now" or exact or (repack == "later" and not possible()) else [t for t in tensors if servable(t)]


def matrices_bytes(tensors: Sequence[Tensor], exact: bool, repack: str, threads: int) -> int:
    """Bytes that all matrices take, those of `Weights` with these options."""
    raw, later = unpacked(tensors, exact, repack), repack == "later"
    mapped = set() if later else {t.name for t in raw}
    return sum(matrix_bytes(t, exact) for t in tensors if t.name not in mapped) + raw_bytes(raw, threads, later)


def vector_bytes(tensor: Tensor) -> int:
    """Bytes of a vector as float32, padded so that 16 numbers can be read from any of its own."""
    return -(-(math.prod(tensor.shape) + 15) // 16) * 64


def columns_bytes(tensor: Tensor) -> int:
    """Bytes of a small matrix as float32 with its rows as columns, padded to a multiple of 16 of them."""
    rows, cols = tensor.shape
    return cols * (-(-rows // 16) * 64)


class Weights:
    """All matrices of a model in one arena, filled by `load`, and its vectors. kernels: those that `load` wants.

    read: False where only addresses are wanted: vectors stay empty. repack: "now" for all of it in `load`, "later" for as much as possible
    in the first steps, "never" to leave as much as possible where the file is mapped; threads: those that will multiply.
    """

    kernels = frozenset({"repack"})

    def __init__(self, matrices: Iterable[Tensor], exact: bool, read: bool = True, repack: str = "now", threads: int = 1) -> None:
        self._read = read
        tensors = list(matrices)
        raw = unpacked(tensors, exact, repack) if read else []
        names, mapped = {t.name for t in raw}, repack == "never"
        self._arena = Arena(sum(matrix_bytes(t, exact) for t in tensors if not mapped or t.name not in names), "the weights", huge=True)
        self.matrices: dict[str, Matrix] = {}
        self._vectors: dict[str, np.ndarray] = {}
        self.exact = exact
        self._jobs: list[Job] = []
        self._rooms: dict[str, np.ndarray] = {}
        for tensor in tensors:
            (count, rows, cols), packing = shape_of(tensor), packing_of(tensor, exact)
            size = 0 if mapped and tensor.name in names else count * packing.nbytes(rows, cols)
            room = self._arena.take(size).reshape(-1, packing.nbytes(ROWS, cols))
            self.matrices[tensor.name] = Matrix(kernel_of(tensor, exact), packing, rows, cols, room.ctypes.data, count)
            self._jobs += _jobs(tensor, room) if tensor.name not in names else []
            self._rooms[tensor.name] = room
        self._raw = Raw(raw, threads, None if mapped else {t.name: self._rooms[t.name] for t in raw}) if raw else None
        self.complete = self._raw is None   # whether every matrix is where it will stay
        for name, address in self._raw.records.items() if self._raw else ():
            self.matrices[name] = dataclasses.replace(self.matrices[name], raw=address)

    def after_step(self) -> None:
        """Go on with repacking. The errors of reading."""
        if self._raw and not self.complete:
            self.complete = self._raw.after_step()

    def replace(self, tensor: Tensor) -> None:
        """Have the next `load` read a matrix from this tensor, which is of the same shape and type."""
        assert self.complete, "a matrix that is not repacked yet"
        self._jobs += _jobs(tensor, self._rooms[tensor.name])

    def load(self, linked: Linked | None = None, threads: int = 1, progress: Callable[[int, int], None] | None = None) -> None:
        """Read and repack the matrices that have not been, or are to be replaced. linked: machine code, without which it is done in NumPy, with the same result."""
        native = linked.function("repack", 2) if linked else None
        if self._raw and linked:
            self._raw.link(linked.addresses["repack"])
        jobs, self._jobs = self._jobs, []
        for type_id in {job.tensor.type for job in jobs} if native and not self.exact else ():
            moves_of(type_id)   # once, before several threads want it
        _work_through(jobs, lambda job: _repack(job, self.exact, native), threads, progress)

    def vector(self, tensor: Tensor) -> int:
        """Address of a tensor's values as float32, followed by 15 zeros or more."""
        if not self._read:
            return 0
        if tensor.name not in self._vectors:
            x = by_id(tensor.type).dequantize(tensor.read()).reshape(-1)
            room = np.zeros(vector_bytes(tensor) // 4, np.float32)
            room[: x.size] = x
            self._vectors[tensor.name] = room
        return self._vectors[tensor.name].ctypes.data

    def columns(self, tensor: Tensor) -> int:
        """Address of a small matrix as float32, rows as columns: [cols][rows], followed by zeros up to a multiple of 16 rows."""
        if not self._read:
            return 0
        if tensor.name not in self._vectors:
            rows, cols = tensor.shape
            room = np.zeros((cols, columns_bytes(tensor) // cols // 4), np.float32)
            room[:, :rows] = by_id(tensor.type).dequantize(tensor.read()).reshape(rows, cols).T
            self._vectors[tensor.name] = room
        return self._vectors[tensor.name].ctypes.data


def _jobs(tensor: Tensor, room: np.ndarray) -> Iterator[Job]:
    """The slices of a tensor; every matrix of a stack begins with a row block of its own."""
    count, rows, _ = shape_of(tensor)
    if rows % ROWS == 0:   # then a stack is packed as one long matrix is
        count, rows = 1, count * rows
    step, blocks = max(1, SLICE // max(1, ROWS * tensor.nbytes // (count * rows))) * ROWS, -(-rows // ROWS)
    for i in range(count):
        for start in range(0, rows, step):
            stop = min(rows, start + step)
            yield Job(tensor, room[i * blocks + start // ROWS : i * blocks - (-stop // ROWS)], i * rows + start, i * rows + stop)


def _repack(job: Job, exact: bool, native: Callable[..., int] | None) -> None:
    """Some rows of a tensor into their row blocks."""
    fmt, raw = by_id(job.tensor.type), job.tensor.read(job.start, job.stop)
    out = job.room
    moves = moves_of(job.tensor.type) if native and not exact else None
    if exact:
        values = np.zeros((len(out) * ROWS, job.tensor.shape[-1]), np.float32)
        values[: len(raw)] = fmt.dequantize(raw)
        pack(EXACT, Parts(values), out)
    elif native and moves and job.tensor.shape[-1] % moves.cols == 0:
        _move(raw, out, moves, native)
    else:
        fmt.repack(raw, out)


def _move(raw: np.ndarray, out: np.ndarray, moves: Moves, native: Callable[..., int]) -> None:
    """Repack rows with machine code; those that are missing to a multiple of 16 become zeros."""
    whole = len(raw) // ROWS
    parts = [(raw, out[:whole])]
    if rest := len(raw) % ROWS:
        padded = np.zeros((ROWS, raw.shape[1]), np.uint8)
        padded[:rest] = raw[whole * ROWS :]
        parts.append((padded, out[whole:]))
    for rows, target in parts:
        blocks = rows.shape[1] // int(moves.table[0])
        args = np.array([rows.ctypes.data, rows.shape[1], blocks, target.ctypes.data, moves.table.ctypes.data], np.int64)
        native(args.ctypes.data, len(target))


def _work_through(jobs: list, do: Callable, threads: int, progress: Callable[[int, int], None] | None) -> None:
    """Do the jobs on several threads; the first error stops all and is raised here."""
    todo, lock, done = iter(jobs), threading.Lock(), 0
    errors: list[BaseException] = []

    def body() -> None:
        nonlocal done
        while not errors:
            with lock:
                job = next(todo, None)
            if job is None:
                return
            do(job)
            with lock:
                done += 1
                if progress:
                    progress(done, len(jobs))

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:   # Ctrl-C too, wherever it comes
            errors.append(error)

    helpers = [threading.Thread(target=guarded, args=[body]) for _ in range(threads - 1)]
    for helper in helpers:
        helper.start()
    guarded(body)
    for helper in helpers:
        guarded(helper.join)
    if errors:
        raise errors[0]
