"""What kernels find of a batch: its rows in the frame, the embeddings of its tokens, tables by position. Knows no kernel.

A step of one row is bound by memory, and what it reads leaves little of Python in the caches: each call of NumPy then costs 5 us or more. So rows
are walked as lists, and the cosines of a page of positions are made together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from edgerun.backends.cpu.kernels import frame as F
from edgerun.backends.cpu.phases import TILE_ROWS, Phases
from edgerun.backends.cpu.slots import Slots
from edgerun.backends.executor import PAGE, Batch, Tensor
from edgerun.formats import by_id
from edgerun.graph import ops
from edgerun.graph.program import Program

_FIRST = np.zeros(1, np.int32)   # the number of the type of every token


class Inputs:
    """Filled for each step. frame: int64 words, as `kernels/frame.py` draws them."""

    def __init__(self, program: Program, tensors: Mapping[str, Tensor], phases: Phases, beside: Slots, frame: np.ndarray, pages: int, max_rows: int) -> None:
        self._embeddings = [op for op in program.ops if isinstance(op, ops.Embed)]
        self._tables = {name: tensors[name] for op in self._embeddings for name in (op.table, op.positions, op.types) if name}
        self._phases, self._beside, self._frame, self._pages, self._max_rows = phases, beside, frame, pages, max_rows
        self._positions, self._page = np.zeros(max_rows, np.int32), np.zeros(max_rows, np.int32)
        self._seen = self._positions if program.causal else np.zeros(max_rows, np.int32)
        self._slot, self._ring_page = np.zeros(max_rows, np.int32), np.zeros(max_rows, np.int32)
        self._selected, self._tiles, self._slots = np.zeros(max_rows, np.int32), np.zeros((max_rows, 4), np.int32), np.zeros((max_rows, 2), np.int32)
        words = {
            F.POSITIONS: self._positions, F.PAGES: self._page, F.SELECTED: self._selected, F.TILES: self._tiles, F.SEEN: self._seen,
            F.SLOTS: self._slots, F.STATES: self._slot, F.RING_PAGES: self._ring_page,
        }  # fmt: skip
        for word, array in words.items():
            frame[word] = array.ctypes.data
        self._turned = [(-1, np.empty(0, np.float32)) for _ in phases.rope]   # of each: a page of positions, and its rows of the table
        self._kept: list[np.ndarray] = []   # what the frame has addresses of

    def replace(self, tensor: Tensor) -> None:
        """Look rows up in this one from now on, where its name is that of a table."""
        if tensor.name in self._tables:
            self._tables[tensor.name] = tensor

    def fill(self, batch: Batch) -> int:
        """Write what a step of this batch reads; how many tiles its rows make. AssertionError where it does not fit."""
        n, m = len(batch.tokens), len(batch.outputs)
        tables = np.ascontiguousarray(batch.tables, np.int32)
        positions, sequences = batch.positions.tolist(), batch.sequences.tolist()
        assert all(0 <= i < n for i in batch.outputs.tolist()), "row numbers whose logits are asked for"
        assert tables.view(np.uint32).max() < self._pages, "pages of the batch"
        self._positions[:n], self._selected[:m] = batch.positions, batch.outputs
        self._page[:n] = [tables.item(s, p // PAGE) for s, p in zip(sequences, positions, strict=True)]
        rings = tables
        if self._beside.count:
            self._slot[:n], rings = self._beside.enter(batch, tables)
            self._ring_page[:n] = rings[batch.sequences, batch.positions // PAGE]
            self._frame[F.RING_TABLES], self._frame[F.RING_TABLE] = rings.ctypes.data, rings.strides[0]
        edges = [0, *(i for i in range(1, n) if sequences[i] != sequences[i - 1]), n]
        seen = positions
        if self._seen is not self._positions:
            seen = [positions[stop - 1] for start, stop in pairwise(edges) for _ in range(start, stop)]
            self._seen[:n] = seen
        tiles = self._tile(sequences, seen, edges)
        self._frame[F.ROWS], self._frame[F.OUTPUTS], self._frame[F.TABLES], self._frame[F.TABLE] = n, m, tables.ctypes.data, tables.strides[0]
        self._kept = [tables, rings]
        self._embed(batch.tokens, batch.positions)
        self._turn(batch)
        self._temper(batch.positions)
        return tiles

    def _tile(self, sequences: Sequence[int], seen: Sequence[int], edges: list[int]) -> int:
        """Cut the rows into tiles of one sequence each, and these by spans where there are slots enough; how many there are."""
        ranges = [(start, min(TILE_ROWS, stop - start)) for begin, stop in pairwise(edges) for start in range(begin, stop, TILE_ROWS)]
        spans = [seen[start + rows - 1] // F.SPAN + 1 for start, rows in ranges]
        alone = sum(rows * n for (_, rows), n in zip(ranges, spans, strict=True)) <= self._max_rows
        tiles, slots, slot = [], [(0, 0)] * edges[-1], 0
        for (start, rows), n in zip(reversed(ranges), reversed(spans), strict=True):   # the longest of a prompt first
            tiles += [(start, rows, sequences[start], span) for span in (range(n) if alone and n > 1 else (-1,))]
            each = n if alone else 1
            slots[start : start + rows] = [(slot + i * each, alone and n > 1) for i in range(rows)]
            slot += rows * each
        self._tiles[: len(tiles)], self._slots[: len(slots)] = tiles, slots
        return len(tiles)

    def _embed(self, tokens: np.ndarray, positions: np.ndarray) -> None:
        """Look the rows of the tokens, and of their positions and type, up in the file's own tables."""
        for op in self._embeddings:
            out, rows = self._phases.buffer(op.out), _rows(self._tables[op.table], tokens)
            out[: len(tokens)] = rows if op.scale == 1.0 else rows * np.float32(op.scale)
            if op.positions:
                out[: len(tokens)] += _rows(self._tables[op.positions], positions)
            if op.types:
                out[: len(tokens)] += _rows(self._tables[op.types], _FIRST)

    def _turn(self, batch: Batch) -> None:
        """Fill the tables of cosines and sines, [cos | signed sin] of twice the pairs, as `row.rope` reads them."""
        n = len(batch.positions)
        for i, (op, table) in enumerate(self._phases.rope.items()):
            if n == 1 and not op.long:
                page, at = divmod(int(batch.positions[0]), PAGE)
                if self._turned[i][0] != page:
                    self._turned[i] = page, turns(op, np.arange(PAGE * page, PAGE * page + PAGE))
                table[0] = self._turned[i][1][at]
            else:
                table[:n] = turns(op, batch.positions, batch.row_lengths() > op.context if op.long else None)

    def _temper(self, positions: np.ndarray) -> None:
        """Fill the tables of factors, one for each row, as `row.temper` reads them."""
        for (beta, length, offset), table in self._phases.temper.items():
            table[: len(positions), 0] = 1 + beta * np.log1p((positions.astype(np.int64) + offset) // length)


def turns(op: ops.Rope, positions: np.ndarray, long: np.ndarray | None = None) -> np.ndarray:
    """Cosines and sines by position, float32 [n, 4 * pairs]; long: bool [n], whether the row's sequence is longer than the model was made for."""
    frequencies = np.array(op.frequencies)
    if long is not None:
        frequencies = np.where(long[:, None], np.array(op.long), frequencies)
    angles = positions[:, None].astype(np.float64) * frequencies
    cos, sin = op.magnitude * np.cos(angles), op.magnitude * np.sin(angles)
    if op.pairing == "halves":
        return np.concatenate([cos, cos, -sin, sin], 1, dtype=np.float32)
    return np.concatenate([np.repeat(cos, 2, 1), np.stack([-sin, sin], 2).reshape(len(cos), -1)], 1, dtype=np.float32)


def _rows(table: Tensor, numbers: np.ndarray) -> np.ndarray:
    """Some rows of a table as float32, read one by one."""
    raw = [table.read(n, n + 1) for n in numbers.tolist()]
    return by_id(table.type).dequantize(raw[0] if len(raw) == 1 else np.concatenate(raw))
