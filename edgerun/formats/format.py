"""What a block format is: one file of this folder each, which defines FORMAT. Knows no kernel, no file, no model."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from edgerun.dataclass import dataclass
from edgerun.errors import ModelError
from edgerun.formats.bits import F16
from edgerun.formats.lent import lent
from edgerun.formats.packing import ROWS, Packing, Parts, interleave, pack, values

_SLICE = 1 << 18   # bytes, or weights, worked on at a time, so that a slice and its temporaries stay in a core's own cache


def no_heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The heads of a format without scales."""
    return {}


@dataclass(frozen=True)
class Format:
    """A GGML block format.

    name and id as in ggml.h; block: weights per block; nbytes: bytes per block; packing: its repacked form.
    codes: blocks, uint8 [rows, blocks, nbytes] -> uint8 [rows, cols]. encode: float32 [rows, cols], importance float32
    [cols] or None -> uint8 [rows, blocks * nbytes]. heads: blocks -> d, m, scales, mins as in Parts, those that there are.
    words: blocks -> what `merge` makes of the codes, as `interleave` wants it; for formats that have a short cut.
    largest: the largest magnitude that a block can be sure to hold.
    """

    name: str
    id: int
    block: int
    nbytes: int
    packing: Packing
    codes: Callable[[np.ndarray], np.ndarray]
    encode: Callable[[np.ndarray, np.ndarray | None], np.ndarray]
    heads: Callable[[np.ndarray], dict[str, np.ndarray]] = no_heads
    words: Callable[[np.ndarray], np.ndarray] | None = None
    largest: float = 65504.0   # of half floats

    def row_bytes(self, cols: int) -> int:
        """Bytes of one row of `cols` weights, a multiple of `block`."""
        return cols // self.block * self.nbytes

    def take_apart(self, blocks: np.ndarray) -> Parts:
        """uint8 [rows, blocks, nbytes] -> Parts."""
        heads = {name: a.reshape(len(blocks), -1) for name, a in self.heads(blocks).items()}
        return Parts(self.codes(blocks), **heads)

    def parts(self, rows: np.ndarray) -> Parts:
        """uint8 [rows, bytes per row] -> Parts."""
        return self.take_apart(self._blocks(rows))

    def dequantize(self, rows: np.ndarray) -> np.ndarray:
        """uint8 [rows, bytes per row] -> float32 [rows, cols]; equal to the bit to llama.cpp's."""
        cols = rows.shape[1] // self.nbytes * self.block
        if self.packing.kind == "f16" and (native := lent()):
            return native.floats(np.ascontiguousarray(rows).view(F16))
        out = np.empty((rows.shape[0], cols), np.float32)
        for some in _slices(rows.shape[0], 4 * cols):
            out[some] = values(self.packing, self.parts(rows[some]))
        return out

    def quantize(self, x: np.ndarray, importance: np.ndarray | None = None) -> np.ndarray:
        """float32 [rows, cols] -> uint8 [rows, bytes per row].

        importance: float32 [cols], not negative, weight of each column's squared error. ModelError when the columns do not
        fill blocks, or when a block format is asked to hold NaN or what is beyond `largest`.
        """
        rows, cols = x.shape
        if cols % self.block:
            raise ModelError(f"{cols} columns cannot be stored as {self.name}, whose blocks hold {self.block}; use F16 for this tensor")
        out = np.empty((rows, self.row_bytes(cols)), np.uint8)
        for some in _slices(rows, 4 * cols):
            part = np.ascontiguousarray(x[some], np.float32)
            if self.packing.kind == "code":
                self._check(part, some.start)
            with np.errstate(all="ignore"):   # dividing by the scale of an empty block is dealt with where it happens
                out[some] = self.encode(part, importance)
        return out

    def _check(self, x: np.ndarray, first: int) -> None:
        """ModelError when a weight is NaN or larger than the scales can be sure to reach; `first` is the row x begins with."""
        if np.abs(x).max(initial=0) <= self.largest:
            return
        row, column = (int(i[0]) for i in np.nonzero(~(np.abs(x) <= self.largest)))
        what = f"the weight in row {row + first}, column {column} is {x[row, column]}"
        raise ModelError(f"{what}, beyond the {self.largest:.0f} that {self.name} can hold; repair the weights or use F32 for this tensor")

    def repack(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Repack rows, uint8 [rows, bytes per row], to `out`, uint8 [ceil(rows / 16), packing.nbytes(16, cols)].

        Rows that are missing to a multiple of 16 become zeros. Threads may repack different row blocks at the same time.
        """
        whole, cols = rows.shape[0] // ROWS, rows.shape[1] // self.nbytes * self.block
        for some in _slices(whole, ROWS * max(rows.shape[1], cols)):
            self._repack(rows[some.start * ROWS : some.stop * ROWS], out[some])
        if rest := rows.shape[0] % ROWS:
            padded = np.zeros((ROWS, rows.shape[1]), np.uint8)
            padded[:rest] = rows[whole * ROWS :]
            self._repack(padded, out[whole : whole + 1])

    def _repack(self, rows: np.ndarray, out: np.ndarray) -> None:
        if self.words is None:
            pack(self.packing, self.parts(rows), out)
        else:
            blocks = self._blocks(rows)
            interleave(self.packing, self.heads(blocks), self.words(blocks), out)

    def _blocks(self, rows: np.ndarray) -> np.ndarray:
        """uint8 [rows, bytes per row] -> uint8 [rows, blocks, nbytes]."""
        return np.ascontiguousarray(rows).reshape(rows.shape[0], -1, self.nbytes)


def _slices(count: int, size: int) -> Iterator[slice]:
    """Ranges that cover `count` things of `size` each, about _SLICE at a time."""
    step = max(1, _SLICE // max(1, size))
    return (slice(at, min(at + step, count)) for at in range(0, count, step))
