"""What the engine and a backend agree on. Knows neither files nor text; the engine above knows no kernel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeGuard

import numpy as np

from edgerun.dataclass import dataclass
from edgerun.graph.ops import View

PAGE = 64   # positions per page of key/value memory, the same for every backend
SLOTS = 2   # slots of what is not in pages unless more are asked for: one for a sequence, one to keep a copy in
KV_KINDS = ("f16", "f32", "bf16", "q8_0", "q4_0")   # what keys and values may be kept as; a backend may keep more than is asked for

LOGITS_BYTES = 64 << 20   # room for the logits of one step


def most_outputs(n_vocab: int, max_rows: int) -> int:
    """Most rows of one step whose logits can be asked for."""
    return max(1, min(max_rows, LOGITS_BYTES // (4 * max(1, n_vocab))))


@dataclass(frozen=True)
class Batch:
    """Rows for one step: n rows, of which m are asked for logits, or for hidden rows.

    Rows of one sequence stand next to each other in the order of their positions; tables[s] lists the pages of
    sequence s, so position p of it lives in page tables[s, p // PAGE] at p % PAGE. Where the model has a recurrent state, or
    layers whose window is kept apart from the pages, this is in slot states[s]; it stands after the positions of the steps before, and a
    row at position 0 begins with nothing. Without `states`, sequence s has slot s.
    """

    tokens: np.ndarray      # int32 [n]
    positions: np.ndarray   # int32 [n]
    sequences: np.ndarray   # int32 [n], index into tables
    tables: np.ndarray      # int32 [sequences, pages]
    outputs: np.ndarray     # int32 [m], ascending row numbers; for logits m is at most most_outputs
    hidden: bool = False    # ask for hidden rows and compute no logits
    states: np.ndarray | None = None    # int32 [sequences], no slot twice
    lengths: np.ndarray | None = None   # int32 [sequences], tokens of each, those still to come as rows included; None: up to here

    def row_lengths(self) -> np.ndarray:
        """How many tokens the sequence of each row has: int [n]."""
        lengths = self.lengths
        if lengths is None:
            lengths = np.zeros(len(self.tables), np.int64)
            np.maximum.at(lengths, self.sequences, self.positions + 1)
        return lengths[self.sequences]


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes a model needs on this backend, known before any of them is allocated."""

    weights: int
    kv: int
    scratch: int
    state: int = 0   # recurrent state, all slots

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.kv + self.scratch + self.state


class Tensor(Protocol):
    """A tensor of a model file, as a backend sees it. `gguf.Tensor` is one."""

    @property
    def name(self) -> str:
        """What the file calls it."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Slowest dimension first: a matrix is (rows, cols)."""
        ...

    @property
    def type(self) -> int:
        """GGML type id, a key of `formats.by_id`."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        ...

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Bytes of rows start:stop as uint8 [rows, bytes per row] (all dimensions but the last make rows)."""
        ...


class Placed(Tensor, Protocol):
    """One whose rows may be read from its file by others, or used where that is mapped."""

    @property
    def is_placed(self) -> bool:
        """Whether its rows lie together in one file."""
        ...

    def place(self) -> tuple[int, int]:
        """The file's descriptor, good as long as the file is open, and the byte that the first row begins with."""
        ...

    def mapped(self) -> np.ndarray:
        """All rows as uint8 [rows, bytes per row], which nobody may write to."""
        ...


def placed(tensor: Tensor) -> TypeGuard[Placed]:
    """Whether it is `Placed`, and its rows do lie together in one file."""
    return getattr(tensor, "is_placed", False)


class Executor(Protocol):
    """A compiled model with its key/value memory and recurrent states."""

    n_vocab: int     # columns of the logits; 0 where there are none, of an encoder
    pages: int       # pages of key/value memory
    max_rows: int    # most rows in one step
    slots: int       # slots of recurrent state, and of windows that are kept apart from the pages; 0 for a model without either
    reach: int       # positions that a slot can be cut back by, from the last one that was written; 0 for a recurrent state
    horizons: tuple[int, ...]   # lengths beyond which a sequence has to be evaluated anew: see `Program.horizons`

    def step(self, batch: Batch) -> np.ndarray:
        """Run the rows, write their keys and values, return float32 [m, n_vocab]; valid until the next step.

        Hidden rows, float32 [m, width of the stream], where the batch asks for them or the program has no logits.
        """
        ...

    def copy_state(self, source: int, target: int) -> None:
        """Make what is in slot `target` what is in slot `source`."""
        ...

    def read(self, view: View) -> np.ndarray:
        """float32 [rows, view.width]: a view of the program's buffers as the latest step left it; valid until the next step.

        rows: of that step. Of a buffer that is filled behind `Select`, the first rows count, as many as logits were asked for.
        """
        ...

    def close(self) -> None:
        """Give back memory and threads. Calling it twice is harmless."""
        ...


class Replaceable(Executor, Protocol):
    """One whose weights can be replaced, as that of the CPU and the reference."""

    def replace(self, tensors: Iterable[Tensor]) -> None:
        """Compute with the weights of these tensors from now on, which have the names, shapes and types of some that the program reads.

        What is in memory of a sequence stays as it is. AssertionError for another shape or type.
        """
        ...
