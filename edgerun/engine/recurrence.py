"""What recurrent state stands after: that of a session's sequence, and a copy to go back to. Knows slots, no bytes.

A state cannot be cut back as pages can. Chat templates write the end of a prompt and the last answer differently the next time
(its reasoning is left out), so a copy is kept from shortly before the end of each prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgerun.backends.executor import Executor

LIVE, COPY = 0, 1   # the slots of the sequence and of the copy
BEFORE_END = 16     # tokens of a prompt after the copy: what templates open an answer with, and the rows of the kernels' largest tile


class Recurrence:
    """The two slots of a session. Where the model has no recurrent state, every position can be gone back to."""

    def __init__(self, executor: Executor) -> None:
        assert executor.slots == 0 or executor.slots > COPY, "a slot for the copy"
        self.none = executor.slots == 0
        self._executor = executor
        self._live: int | None = 0   # positions that the sequence's state stands after; None while, or since, a step was cut off
        self._copy = 0               # and the copy, which is of the same tokens; 0 for none

    def back(self, length: int) -> int:
        """Go back to after `length` positions, or as far before as it takes; where that is. Zero needs nothing to be done."""
        if self.none or self._live == length:
            return length
        self._live = None
        if self._copy > length:
            self._copy = 0
        if self._copy:
            self._executor.copy_state(COPY, LIVE)
        self._live = self._copy
        return self._live

    @contextmanager
    def moving(self, length: int) -> Iterator[None]:
        """Around a step after which the state stands after `length` positions."""
        self._live = None
        yield
        self._live = length

    def keep(self) -> None:
        """Copy the state as it is now, if there is one."""
        if not self.none and self._live:
            self._copy = 0
            self._executor.copy_state(LIVE, COPY)
            self._copy = self._live
