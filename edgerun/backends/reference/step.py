"""What an op sees while a step runs: buffers, weights, the batch, key/value memory and states. Knows no op."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgerun.backends.executor import PAGE, Batch
from edgerun.dataclass import dataclass
from edgerun.graph.ops import View


@dataclass(frozen=True)
class Memory:
    """Keys and values of one attention layer: float64 [pages * PAGE, kv_heads, width]."""

    keys: np.ndarray
    values: np.ndarray


class Step:
    """One step over a batch. rows, positions, lengths: of the rows that ops work on: all, or those asked for after `Select`.

    hidden: float64 [outputs, width] once the program has come to `ops.Hidden`.
    """

    def __init__(
        self, batch: Batch, widths: dict[str, int], memories: list[Memory], states: list[np.ndarray], weight: Callable[[str], np.ndarray]
    ) -> None:
        self.batch = batch
        self.rows = len(batch.tokens)
        self.positions = batch.positions
        self.lengths = batch.row_lengths()
        self.memories = memories
        self.states = states   # float64 [slots, ...] each
        self.weight = weight   # name -> float64, in the tensor's shape
        self.hidden: np.ndarray | None = None
        self._buffers = {name: np.zeros((self.rows, width)) for name, width in widths.items()}

    def get(self, view: View) -> np.ndarray:
        """The columns of a view, float64 [rows, width]."""
        return self.columns(view)[: self.rows]

    def columns(self, view: View) -> np.ndarray:
        """The columns of a view in all rows of the batch."""
        return self._buffers[view.buffer][:, view.start : view.start + view.width]

    def put(self, view: View, values: np.ndarray) -> None:
        """Write [rows, ...] into the columns of a view."""
        self.get(view)[...] = values.reshape(self.rows, view.width)

    def slots(self, sequences: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Where position positions[i] of sequence sequences[i] lives in a memory."""
        return self.batch.tables[sequences, positions // PAGE] * PAGE + positions % PAGE

    def slot(self, row: int) -> int:
        """The slot of the states of the row's sequence."""
        sequence = self.batch.sequences[row]
        return int(sequence if self.batch.states is None else self.batch.states[sequence])
