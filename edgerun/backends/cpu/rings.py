"""Where layers with a window keep keys and values: in few pages over and over, instead of one for each 64 positions.

Position p of the sequence in slot s lies in ring page s * pages + p // PAGE % pages, at p % PAGE. A ring is as long as the widest window
and a step together, so that no row of a step writes over what another one sees: position p is written over by p + pages * PAGE.
Knows page numbers only.
"""

from __future__ import annotations

import numpy as np

from edgerun.backends.executor import PAGE
from edgerun.dataclass import dataclass
from edgerun.graph.program import Program


@dataclass(frozen=True)
class Rings:
    """caches: those of layers with a window; slots: rings; pages: of one ring; reach: see `Executor.reach`."""

    caches: frozenset[int]
    slots: int
    pages: int
    reach: int

    @classmethod
    def of(cls, program: Program, pages: int, slots: int, max_rows: int) -> Rings:
        """Those of a program; none where `pages` for all positions take no more than rings would."""
        windows = {i: cache.window for i, cache in enumerate(program.caches) if cache.window is not None}
        widest = max(windows.values(), default=0)
        own = -(-(widest - 1 + max_rows) // PAGE)
        if not windows or not program.causal or slots * own >= pages:
            return NONE
        return cls(frozenset(windows), slots, own, 0 if program.states else own * PAGE - widest + 1)

    def tables(self, slots: np.ndarray, count: int) -> np.ndarray:
        """The first `count` pages of the sequences in these slots: int32 [sequences, count]."""
        return (slots[:, None] * self.pages + np.arange(count) % self.pages).astype(np.int32)


NONE = Rings(frozenset(), 0, 0, 0)
