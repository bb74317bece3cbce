"""Matrices that are used as the file has them, for good or to begin with: what kernels need to repack their rows (`kernels/panel.py`).

Knows no op. "never" leaves rows in the mapping of the file and repacks them anew in each step. "later" reads them; from the second step on
what was repacked is kept where it belongs. So the first token needs no fresh memory, which may take the system longer to give than
everything else. A matrix is served so where its rows lie together in a file and its format only moves bits (`moves.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from edgerun import foreign
from edgerun.backends.cpu.arena import Arena, aligned
from edgerun.backends.cpu.kernels import control as C
from edgerun.backends.cpu.moves import moves_of
from edgerun.backends.executor import Tensor, placed
from edgerun.errors import ModelError
from edgerun.formats import by_id
from edgerun.formats.packing import ROWS

_LINE = 64


def servable(tensor: Tensor) -> bool:
    """Whether a matrix can be multiplied with as the file has it."""
    moves = moves_of(tensor.type)
    return placed(tensor) and moves is not None and tensor.shape[-1] % moves.cols == 0


def possible() -> bool:
    """Whether kernels can read files on this system, as "later" has them do."""
    return foreign.pread_address() != 0


def raw_bytes(tensors: Sequence[Tensor], threads: int, later: bool) -> int:
    """Bytes that `Raw` takes of memory."""
    return _LINE + threads * _room_bytes(tensors) + (0 if later else sum(_edge_bytes(t) for t in tensors)) if tensors else 0


def _row_bytes(tensor: Tensor) -> int:
    return tensor.nbytes // max(1, math.prod(tensor.shape[:-1]))


def _edge_bytes(tensor: Tensor) -> int:
    """Bytes of the copies that are made of the last row block of each matrix, where rows are missing to one."""
    count, rows, _ = (1, 1, *tensor.shape)[-3:]
    return aligned(count * ROWS * _row_bytes(tensor)) if rows % ROWS else 0


def _panel_bytes(tensors: Sequence[Tensor]) -> int:
    """Bytes of the largest packed row block."""
    return max((aligned(by_id(t.type).packing.nbytes(ROWS, t.shape[-1])) for t in tensors), default=0)


def _room_bytes(tensors: Sequence[Tensor]) -> int:
    """A line, a packed row block, its rows, and a line between what two threads write."""
    return 2 * _LINE + _panel_bytes(tensors) + max((aligned(ROWS * _row_bytes(t)) for t in tensors), default=0)


class Raw:
    """The records of some matrices, and rooms for `threads` threads. `link` comes before the first step.

    targets: where packed rows belong, uint8 [row blocks, bytes], for "later"; None for "never".
    """

    def __init__(self, tensors: Sequence[Tensor], threads: int, targets: Mapping[str, np.ndarray] | None) -> None:
        later = targets is not None
        self._tensors, self._targets = tensors, targets or {}
        self._arena = Arena(raw_bytes(tensors, threads, later), "rows being repacked", huge=True)
        self._rooms = self._arena.take(_LINE + threads * _room_bytes(tensors)).view(np.int64)
        self._rooms[[C.ROOM_COUNT, C.ROOM_BYTES, C.PANEL]] = threads, _room_bytes(tensors), _panel_bytes(tensors)
        self._done = np.zeros(sum(len(room) for room in self._targets.values()), np.uint8)
        self._keep: list[np.ndarray] = []   # addresses alone keep nothing alive
        self._records: dict[str, np.ndarray] = {}
        done = 0
        for tensor in tensors:
            records = self._records[tensor.name] = self._common(tensor)
            if later:
                self._read(tensor, records, done)
                done += len(self._targets[tensor.name])
            else:
                self._map(tensor, records)

    @property
    def records(self) -> dict[str, int]:
        """Where the records of each tensor's matrices lie, one behind the other."""
        return {name: records.ctypes.data for name, records in self._records.items()}

    def link(self, repack: int) -> None:
        """Say where the kernel is."""
        self._rooms[[C.REPACK, C.PREAD]] = repack, foreign.pread_address()

    def after_step(self) -> bool:
        """Have what is repacked be kept from now on; whether there is nothing more to do. The error of reading where that failed."""
        if self._rooms[C.FAILED]:
            for tensor in self._tensors:
                tensor.read(math.prod(tensor.shape[:-1]) - 1)   # says what is wrong with the file
            raise ModelError("the weights could not be read while they were in use; try again")
        self._rooms[C.WRITING] = 1
        if self._targets and not self._done.all():
            return False
        for records in self._records.values() if self._targets else ():
            records[:, C.READY] = 1   # the records stay: kernels look here
        return True

    def _common(self, tensor: Tensor) -> np.ndarray:
        """Records with what does not depend on where rows are."""
        (count, rows, cols), moves = (1, 1, *tensor.shape)[-3:], moves_of(tensor.type)
        assert moves is not None
        records = np.zeros((count, C.RECORD // 8), np.int64)
        records[:, C.STRIDE], records[:, C.BLOCKS], records[:, C.ROWS] = _row_bytes(tensor), cols // moves.cols, rows
        records[:, C.SIZE] = by_id(tensor.type).packing.nbytes(ROWS, cols)
        records[:, C.TABLE], records[:, C.ROOMS] = moves.table.ctypes.data, self._rooms.ctypes.data
        return records

    def _read(self, tensor: Tensor, records: np.ndarray, done: int) -> None:
        """Rows are read, and what they become is kept; `done` row blocks come before this tensor's."""
        assert placed(tensor)
        number, target = np.arange(len(records)), self._targets[tensor.name]
        blocks = len(target) // len(records)
        records[:, C.FD], offset = tensor.place()
        records[:, C.OFFSET] = offset + number * (tensor.nbytes // len(records))
        records[:, C.TARGET] = target.ctypes.data + number * (blocks * target.strides[0])
        records[:, C.DONE] = self._done.ctypes.data + done + number * blocks

    def _map(self, tensor: Tensor, records: np.ndarray) -> None:
        """Rows are used where the file is mapped, but for those that fill no row block."""
        assert placed(tensor)
        data, number = tensor.mapped().reshape(len(records), -1, _row_bytes(tensor)), np.arange(len(records))
        records[:, C.FD], records[:, C.SOURCE] = -1, data.ctypes.data + number * data.strides[0]
        if rest := data.shape[1] % ROWS:
            edges = self._arena.take(_edge_bytes(tensor))[: len(records) * ROWS * data.shape[2]].reshape(len(records), ROWS, -1)
            edges[:, :rest] = data[:, -rest:]
            records[:, C.EDGE] = edges.ctypes.data + number * edges.strides[0]
        self._keep.append(data)
