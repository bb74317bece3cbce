"""Matrices that stay as the file has them, in its mapping: what the kernels need to repack their rows as they go (`kernels/panel.py`).

Knows no op. A matrix is served from the mapping where its file is mapped and its format only moves bits (`moves.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgerun.backends.cpu.arena import Arena, aligned
from edgerun.backends.cpu.kernels.control import BLOCKS, EDGE, RECORD, REPACK, ROOM_BYTES, ROOM_COUNT, ROOMS, SOURCE, STRIDE, TABLE, WHOLE
from edgerun.backends.cpu.moves import moves_of
from edgerun.backends.executor import Mappable, Tensor
from edgerun.formats import by_id
from edgerun.formats.packing import ROWS

_LINE = 64


def servable(tensor: Tensor) -> bool:
    """Whether a matrix can be multiplied with where it lies."""
    moves = moves_of(tensor.type)
    return isinstance(tensor, Mappable) and tensor.is_mappable and moves is not None and tensor.shape[-1] % moves.cols == 0


def edge_bytes(tensor: Tensor) -> int:
    """Bytes of the copies that are made of the last row block of each matrix, where rows are missing to one."""
    count, rows, _ = (1, 1, *tensor.shape)[-3:]
    return aligned(count * ROWS * (tensor.nbytes // (count * rows))) if rows % ROWS else 0


def rooms_bytes(tensors: Sequence[Tensor], threads: int) -> int:
    """Bytes of the rooms for so many threads."""
    return _LINE + threads * max((_room_bytes(t) for t in tensors), default=0)


def _room_bytes(tensor: Tensor) -> int:
    """A line, and a packed row block; a line more keeps what is fetched ahead of one room out of the next."""
    return _LINE + aligned(by_id(tensor.type).packing.nbytes(ROWS, tensor.shape[-1])) + _LINE


class Raw:
    """The records of some matrices, and rooms for `threads` threads. `link` comes before the first step."""

    def __init__(self, tensors: Sequence[Tensor], threads: int) -> None:
        self._arena = Arena(rooms_bytes(tensors, threads) + sum(edge_bytes(t) for t in tensors), "rows being repacked", huge=True)
        self._rooms = self._arena.take(rooms_bytes(tensors, threads)).view(np.int64)
        self._rooms[ROOM_COUNT], self._rooms[ROOM_BYTES] = threads, max((_room_bytes(t) for t in tensors), default=0)
        self._keep: list[np.ndarray] = []   # addresses alone keep nothing alive
        self._records = {tensor.name: self._record(tensor) for tensor in tensors}

    def record(self, name: str) -> int:
        """Address of the records of a tensor's matrices, one for each, 0 where it is not among these."""
        return self._records[name].ctypes.data if name in self._records else 0

    def link(self, repack: int) -> None:
        """Say where the kernel is."""
        self._rooms[REPACK] = repack

    def _record(self, tensor: Tensor) -> np.ndarray:
        assert isinstance(tensor, Mappable)
        count, rows, cols = (1, 1, *tensor.shape)[-3:]
        data, moves = tensor.mapped().reshape(count, rows, -1), moves_of(tensor.type)
        assert moves is not None
        records = np.zeros((count, RECORD // 8), np.int64)
        records[:, SOURCE] = data.ctypes.data + np.arange(count) * data.strides[0]
        records[:, STRIDE], records[:, BLOCKS], records[:, WHOLE] = data.strides[1], cols // moves.cols, rows // ROWS
        records[:, TABLE], records[:, ROOMS] = moves.table.ctypes.data, self._rooms.ctypes.data
        if rest := rows % ROWS:
            edges = self._arena.take(edge_bytes(tensor))[: count * ROWS * data.shape[2]].reshape(count, ROWS, -1)
            edges[:, :rest] = data[:, rows - rest :]
            records[:, EDGE] = edges.ctypes.data + np.arange(count) * edges.strides[0]
        self._keep += [data, records]
        return records
