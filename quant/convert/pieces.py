"""The content of one tensor of the new file: which rows come from where in the checkpoint, and what they are once encoded.

Knows how tensors are read, moved and encoded; what they become is the plan's business, in which order they are asked for the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from edgerun.errors import ModelError
from edgerun.formats import by_name
from edgerun.gguf.file import shown
from edgerun.gguf.span import Span
from quant.convert.checkpoint import Stored, as_floats
from quant.convert.config import Config
from quant.convert.family import Move
from quant.convert.plan import Row, moved

SLICE = 1 << 20   # weights that are dealt with at a time
_INFINITE = 0x7C00   # in F16, without the sign


@dataclass(frozen=True)
class Piece:
    """Rows of a tensor that lie together in the checkpoint.

    load(start, stop): these of its rows, as numbers of `dtype`, contiguous. whole: all of it has to be read for any of them, because
    numbers change places.
    """

    rows: int
    dtype: str
    whole: bool
    load: Callable[[int, int], np.ndarray]

    def slices(self, cols: int) -> Iterator[tuple[int, int]]:
        """(first row, row behind the last), a slice after another."""
        step = max(1, SLICE // cols)
        return ((start, min(start + step, self.rows)) for start in range(0, self.rows, step))


def spans(row: Row) -> list[Span] | None:
    """Where the bytes of a tensor are as they are in the checkpoint, in their order; None where any of them is made."""
    as_they_are = row.made is None and row.to.move is None and row.to.value is None and all(stored.dtype == row.type for stored in row.sources)
    found = [span for stored in row.sources if (span := stored.span)] if as_they_are else []
    return found if len(found) == len(row.sources) > 0 and sum(span.nbytes for span in found) == row.nbytes else None


def pieces(row: Row, config: Config) -> list[Piece]:
    """All of a tensor, in its order. Nothing is read yet."""
    cols = row.shape[-1]
    if row.made is not None:
        values = np.ascontiguousarray(row.made, np.float32).reshape(-1, cols)
        return [Piece(len(values), "F32", False, lambda start, stop: values[start:stop])]
    found = [piece for stored in row.sources for piece in _of(stored, row, config)]
    missing = math.prod(row.shape[:-1]) - sum(piece.rows for piece in found)
    if missing > 0:   # of a token table that has to have more rows
        found.append(Piece(missing, "F32", False, lambda start, stop: np.zeros((stop - start, cols), np.float32)))
    return found


def _of(stored: Stored, row: Row, config: Config) -> Iterator[Piece]:
    """Of one tensor of the checkpoint."""
    cols, to = row.shape[-1], row.to
    if to.move is None and to.value is None:
        rows = math.prod(stored.shape) // cols
        yield Piece(rows, stored.dtype, False, replace(stored, shape=(rows, cols)).read)
    elif to.stack and len(stored.shape) > 2:
        rows = math.prod(row.shape[:-1]) // stored.shape[0]
        yield from (Piece(rows, stored.dtype, True, _moved(stored, i, row, config)) for i in range(stored.shape[0]))
    else:
        rows = math.prod(stored.shape) // cols if to.move is None else math.prod(row.shape[:-1]) // len(row.sources)
        yield Piece(rows, stored.dtype if to.value is None else "F32", True, _moved(stored, None, row, config))


def _moved(stored: Stored, i: int | None, row: Row, config: Config) -> Callable[[int, int], np.ndarray]:
    """Reads all of a tensor, or matrix `i` of its stack, with its numbers where they belong."""

    def load(start: int, stop: int) -> np.ndarray:
        x = moved(stored.read() if i is None else stored.read(i, i + 1)[0], stored, row.to, config)
        x = np.ascontiguousarray(x) if i is not None or row.to.value is None else _computed(x, row.to.value, stored, config)
        return x.reshape(-1, x.shape[-1])[start:stop]

    return load


def _computed(x: np.ndarray, value: Move, stored: Stored, config: Config) -> np.ndarray:
    """Other numbers in the places of `x`, float32. ModelError when their count does not fit config.json."""
    try:
        result = value(as_floats(x, stored.dtype), config)
    except ValueError:
        result = None
    if result is None or result.shape != x.shape:
        raise ModelError(f"tensor {shown(stored.name)} has the shape {list(stored.shape)}, which does not fit the widths in config.json")
    return np.ascontiguousarray(result, np.float32)


@cache
def _halves() -> np.ndarray:
    """F16 of each BF16, as bits."""
    with np.errstate(over="ignore"):
        return as_floats(np.arange(1 << 16, dtype=np.uint16), "BF16").astype("<f2").view("<u2")


def encoded(x: np.ndarray, dtype: str, row: Row) -> memoryview:
    """Bytes of rows, [rows, columns], in the tensor's type. ModelError when it cannot hold them."""
    if dtype == row.type:
        return x.view(np.uint8).reshape(-1).data
    if dtype == "BF16" and row.type == "F16":
        halves = np.take(_halves(), x, mode="clip")   # which spares it a look at each index
        if not (halves & 0x7FFF == _INFINITE).any():
            return halves.reshape(-1).view(np.uint8).data
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
