"""A checkpoint as if it were a model file already: the tensors of a conversion plan, made when they are read. Writes nothing.

What quantizes, measures or plans by a `GGUF` takes this too; its types are those in which nothing of the checkpoint is lost.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgerun.gguf import GGUF, Metadata, Tensor
from edgerun.gguf.writer import as_read
from quant.convert.card import card
from quant.convert.checkpoint import Checkpoint
from quant.convert.config import Config
from quant.convert.pieces import Piece, encoded, pieces
from quant.convert.plan import Plan, Row, token_rows
from quant.convert.vocabulary import vocabulary

_KEPT = 2   # pieces that have to be made as a whole: one that ends while others begin the next


@dataclass(frozen=True)
class View(GGUF):
    """An open checkpoint; size: of its own files. plan: what converting it would write, to whose types `tensors` belong."""

    plan: Plan


def open_checkpoint(folder: Path, pre: str | None = None) -> View:
    """A checkpoint folder as a model file. The errors are those of `Checkpoint`, `Plan.of` and `vocabulary`, whose `pre` is as there."""
    with Checkpoint(folder) as checkpoint:
        entries = [*card(folder, checkpoint.weights), *vocabulary(folder, token_rows(checkpoint), pre=pre)]
        plan = Plan.of(checkpoint, _lossless(checkpoint), entries)
        values = {name: as_read(value, kind) for name, value, kind in plan.keys}
        files, latest = checkpoint.release(), _Latest()
    tensors: dict[str, Tensor] = {
        row.name: Made(row.name, row.shape, row.type_id, row.nbytes, 0, files[0], row=row, config=plan.config, latest=latest) for row in plan.rows
    }
    return View(folder, 3, sum(file.size for file in files), Metadata(values, checkpoint.name), tensors, files, plan)


@dataclass(frozen=True)
class Made(Tensor):
    """A tensor whose bytes are made of the checkpoint's; file: one of these, offset: none."""

    row: Row = field(repr=False, compare=False, kw_only=True)
    config: Config = field(repr=False, compare=False, kw_only=True)
    latest: _Latest = field(repr=False, compare=False, kw_only=True)

    @property
    def is_placed(self) -> bool:
        """Its bytes are in no file."""
        return False

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start:stop, as `Tensor.read` gives them. ModelError when a file was cut short meanwhile, or holds what the type cannot."""
        stop = self.rows if stop is None else stop
        if not 0 <= start <= stop <= self.rows:
            raise ValueError(f"rows {start}:{stop} of {self.name}, which has {self.rows}")
        parts, begin = [np.empty(0, np.uint8)], 0
        for number, piece in enumerate(pieces(self.row, self.config)):
            first, last = max(start - begin, 0), min(stop - begin, piece.rows)
            if first < last:
                x = self.latest.of((self.name, number), piece)[first:last] if piece.whole else piece.load(first, last)
                parts.append(np.frombuffer(encoded(np.ascontiguousarray(x), piece.dtype, self.row), np.uint8))
            begin += piece.rows
        return np.concatenate(parts).reshape(stop - start, self.nbytes // self.rows)


class _Latest:
    """The pieces made last, for all tensors together: threads ask for slices of one after another."""

    def __init__(self) -> None:
        self._pieces: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()
        self._making = threading.Lock()

    def of(self, key: tuple[str, int], piece: Piece) -> np.ndarray:
        """All rows of a piece."""
        with self._making:
            if key not in self._pieces:
                while len(self._pieces) >= _KEPT:
                    self._pieces.popitem(last=False)
                self._pieces[key] = piece.load(0, piece.rows)
            return self._pieces[key]


def _lossless(checkpoint: Checkpoint) -> str:
    """The outtype that holds what the checkpoint does: F32 as soon as one of its matrices needs it."""
    if any(name.endswith(".qweight") for name in checkpoint.tensors):   # whole numbers times scales
        return "f32"
    kinds = {tensor.dtype for tensor in checkpoint.tensors.values() if tensor.floats and len(tensor.shape) > 1}
    return {frozenset({"BF16"}): "bf16", frozenset({"F16"}): "f16"}.get(frozenset(kinds - {"MXFP4"}), "f32")
