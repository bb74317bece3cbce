"""What a backend keeps of sequences beside their pages: recurrent states and rings, in slots. Knows no kernel, and no sequence's tokens."""

from __future__ import annotations

import numpy as np

from edgerun.backends.cpu.rings import Rings
from edgerun.backends.executor import PAGE, Batch


class Slots:
    """`count` slots. state: uint8 [slots, bytes]; ring: uint8 [slots, bytes], pages one behind the other."""

    def __init__(self, count: int, rings: Rings, state: np.ndarray, ring: np.ndarray) -> None:
        self.count = count if state.shape[1] or rings.slots else 0
        self._rings, self._state, self._ring = rings, state, ring
        self._stands = np.zeros(count, np.int64)   # positions of its sequence that were evaluated

    def enter(self, batch: Batch, tables: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The slot of each row, int [n], and the ring pages of each sequence, int32 like `tables`. AssertionError for a slot that is not there."""
        own = np.arange(len(tables)) if batch.states is None else batch.states
        slots = own[batch.sequences]
        assert 0 <= slots.min() <= slots.max() < self.count, "slots of the batch"
        self._stands[slots] = batch.positions + 1
        return slots, self._rings.tables(own, tables.shape[1]) if self._rings.slots else tables

    def copy(self, source: int, target: int) -> None:
        """See `Executor.copy_state`. Of a ring, what was written."""
        self._state[target] = self._state[source]
        if self._rings.slots:
            size = self._ring.shape[1] // self._rings.pages * min(self._rings.pages, -(-int(self._stands[source]) // PAGE))
            self._ring[target, :size] = self._ring[source, :size]
        self._stands[target] = self._stands[source]
