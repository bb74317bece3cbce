"""What can be gone back to of that which forgets: recurrent states, and layers that remember a window. Knows slots, no bytes.

A recurrent state cannot be cut back as pages can, a window only as far as what lies behind it has not been written over: the executor's
`reach`. Chat templates write the end of a prompt and the last answer differently the next time (its reasoning is left out), so a
copy is made before the place shortly before the end of each prompt would be lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgerun.backends.executor import Executor
from edgerun.dataclass import dataclass

LIVE, COPY = 0, 1   # the slots of the sequence and of the copy
BEFORE_END = 16     # tokens of a prompt after the place: what templates open an answer with, and the rows of the kernels' largest tile


@dataclass(frozen=True)
class _Slot:
    """What a slot holds: it stands after that many positions, and `written` of them had been written before it was cut back."""

    after: int
    written: int

    def cut(self, length: int, reach: int) -> _Slot | None:
        """The same of not more than `length` positions; None where those are not to be had any more."""
        if self.after <= length:
            return self
        if not length:
            return _NOTHING
        return _Slot(length, self.written) if self.written - length <= reach else None


_NOTHING = _Slot(0, 0)


class Recurrence:
    """The two slots of a session. Where the executor has none, every position can be gone back to.

    mark: the position that is to be within reach as long as possible; 0 for none.
    """

    def __init__(self, executor: Executor) -> None:
        assert executor.slots == 0 or executor.slots > COPY, "a slot for the copy"
        self.mark = 0
        self._none = executor.slots == 0
        self._executor = executor
        self._live: _Slot | None = _NOTHING   # None where nobody knows
        self._copy: _Slot | None = None       # of the same tokens

    @property
    def pause(self) -> int:
        """Where a step has to end, so that there is something to make a copy of; 0 for nowhere."""
        return 0 if self._none or self._executor.reach >= self._executor.max_rows else self.mark

    def back(self, length: int) -> int:
        """Go back to after `length` positions, or as far before as it takes; where that is. Zero needs nothing to be done."""
        if self._none:
            return length
        live, reach = self._live, self._executor.reach
        here = live.cut(length, reach) if live else None
        self._copy = self._copy.cut(length, reach) if self._copy else None
        self._live = None
        if here is None and self._copy:
            self._executor.copy_state(COPY, LIVE)
            here = self._copy
        self._live = here or _NOTHING
        return self._live.after

    @contextmanager
    def moving(self, length: int) -> Iterator[None]:
        """Around a step after which the slot stands after `length` positions."""
        if self._live and not self._none:
            self._keep(self._live, length)
        live, written = self._live, max(length, self._live.written if self._live else 0)
        # A step that is cut off leaves a state in doubt, of a ring only what it would have written over.
        self._live = _Slot(live.after, written) if live and self._executor.reach else None
        yield
        self._live = _Slot(length, written)

    def _keep(self, live: _Slot, length: int) -> None:
        """Copy what is there, if it reaches the mark and will not after `length` positions."""
        reach = self._executor.reach
        if not self.mark or max(live.written, length) - self.mark <= reach or live.after < self.mark or live.cut(self.mark, reach) is None:
            return
        if self._copy is None or self._copy.after < self.mark:
            self._copy = None
            self._executor.copy_state(LIVE, COPY)
            self._copy = live
