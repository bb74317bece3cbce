"""The bytes of a plan's tensors, rounded so that errors cancel over a text (`gptq.py`). Knows which inputs to measure when.

The products of a matrix's inputs (`gram.py`) take as much memory as a matrix of as many rows as columns, so they are measured for as
many matrices at a time as fit: the model is loaded and reads the text once for each group of matrices, in the order of the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from edgerun import machine
from edgerun.api import Progress
from edgerun.blueprint import Blueprint, Options
from edgerun.errors import ModelError, UsageError
from edgerun.formats import by_id, by_name
from edgerun.formats.format import Format
from edgerun.gguf import GGUF
from edgerun.graph.taps import tapped
from quant.gptq import Feedback, round_to, takes
from quant.gram import Gram, Key, grams
from quant.plan import Plan, Row
from quant.source import Source
from quant.windows import Window

MOST = 2 << 30   # bytes of products at a time,
_SHARE = 4       # and at most this part of the memory that is free
_SLICE = 1 << 20   # weights that one thread takes at a time


class Compensation:
    """Encodes the tensors of a plan for a file that is open.

    passes: how often the text has to be read. by_squares: names of matrices that are rounded with the squares of their inputs as
    importance, as their types do not take more or their products would not fit in `most` bytes. What is not multiplied with
    anything is left to others.
    """

    def __init__(
        self,
        file: GGUF,
        plan: Plan,
        windows: Sequence[Window],
        *,
        threads: int = 1,
        options: Options | None = None,
        most: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Measures nothing yet. ModelError for a file that is no model."""
        self._file, self._windows, self._threads = file, windows, threads
        self._options, self._progress = options or Options(), progress
        _, taps = tapped(Blueprint.of(file, self._options).program)
        self._first = {name: tap.weights[0] for tap in taps for name in tap.weights}
        self._most = most or min(MOST, machine.memory().available // _SHARE)
        self._groups, self._group_of = self._grouped(plan)
        self.by_squares = [row.tensor.name for row in plan.rows if (row.tensor.name, 0) in self._group_of and not self._takes(row)]
        self._at, self._found = -1, dict[Key, Gram | Feedback]()
        if not self._groups:
            raise UsageError("no matrix of this model changes its type, so there is nothing to calibrate")

    @property
    def digest(self) -> bytes:
        """Of what decides the bytes, besides the file and the plan."""
        return hashlib.sha256(b"gptq" + b"".join(np.asarray(window.tokens, np.int32).tobytes() for window in self._windows)).digest()

    @property
    def passes(self) -> int:
        """Passes over the text."""
        return len(self._groups)

    def measure(self, group: int = 0) -> Iterator[None]:
        """Have the model read the text for a group of matrices; a step for each window."""
        self._found = {}
        size = max(len(window.tokens) for window in self._windows)
        loaded = Source(self._file.path, size, self._threads, self._options, self._progress)
        with loaded as source, ThreadPoolExecutor(self._threads) as pool:
            for found in grams(source, self._windows, self._groups[group], pool):
                self._found = {**found}
                yield
        self._at = group

    def encode(self, row: Row, pool: ThreadPoolExecutor) -> np.ndarray | None:
        """The new bytes of a tensor, uint8 [rows, bytes per row]; None where nothing is known of its inputs. ModelError for weights that
        its type cannot hold."""
        tensor, source, target = row.tensor, by_id(row.tensor.type), by_name(row.type)
        if tensor.name not in self._first:
            return None
        out = np.empty((tensor.rows, target.row_bytes(tensor.shape[-1])), np.uint8)
        each = tensor.shape[-2]
        step = max(1, _SLICE // tensor.shape[-1])
        for matrix in range(tensor.rows // each):
            known = self._known(tensor.name, matrix)

            def encode(start: int, known: Feedback | np.ndarray = known, stop: int = (matrix + 1) * each) -> None:
                part = slice(start, min(start + step, stop))
                try:
                    out[part] = _encoded(target, source.dequantize(tensor.read(part.start, part.stop)), known)
                except ModelError as error:
                    raise ModelError(f"tensor {tensor.name!a}, from row {start} on: {error}") from None

            for _ in pool.map(encode, range(matrix * each, (matrix + 1) * each, step)):
                pass
        return out

    def _known(self, name: str, matrix: int) -> Feedback | np.ndarray:
        """What the rounding of a matrix goes by: feedback, or the importance of its columns."""
        if self._at != self._group_of[name, matrix]:
            for _ in self.measure(self._group_of[name, matrix]):
                pass
        key = self._first[name], matrix
        found = self._found[key]
        if isinstance(found, Feedback):
            return found
        sums = found.sums()
        if sums.ndim == 1:
            return sums
        try:
            made = self._found[key] = Feedback.of(sums)
        except ModelError as error:
            raise ModelError(f"tensor {name!a}: {error}") from None
        return made

    def _takes(self, row: Row) -> bool:
        """Whether a matrix is rounded with feedback."""
        return takes(by_name(row.type)) and Gram.nbytes(row.tensor.shape[-1], True) <= self._most

    def _grouped(self, plan: Plan) -> tuple[list[dict[Key, bool]], dict[tuple[str, int], int]]:
        """What to measure in each pass (True: all products, False: the squares), and in which pass each matrix is rounded."""
        groups: list[dict[Key, bool]] = []
        group_of, room = {}, 0
        for row in plan.rows:
            if not row.changes or row.tensor.name not in self._first:
                continue
            cols, whole = row.tensor.shape[-1], self._takes(row)
            for matrix in range(row.tensor.rows // row.tensor.shape[-2]):
                key = self._first[row.tensor.name], matrix
                missing = Gram.nbytes(cols, whole) if not groups or groups[-1].get(key, False) < whole or key not in groups[-1] else 0
                if not groups or missing > room:
                    groups.append({})
                    room = self._most
                groups[-1][key] = whole or groups[-1].get(key, False)
                room -= missing
                group_of[row.tensor.name, matrix] = len(groups) - 1
        return groups, group_of


def _encoded(target: Format, x: np.ndarray, known: Feedback | np.ndarray) -> np.ndarray:
    if not isinstance(known, Feedback) or not takes(target):
        return target.quantize(x, known.squares if isinstance(known, Feedback) else known)
    if np.abs(x).max(initial=0) > target.largest or not np.isfinite(x).all():
        return target.quantize(x)   # which says where it is that weights are beyond it
    return round_to(target, x, known)
