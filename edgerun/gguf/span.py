"""Bytes of a file that another one has as they are. Knows neither what they mean nor where they go."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress

from edgerun.dataclass import dataclass
from edgerun.gguf.file import File

_PIECE = 1 << 24     # bytes that are copied at a time
_AHEAD = 1 << 26     # bytes before they are copied, the system is asked to read them
_CARRIED = 1 << 22   # ... where they have to pass through our memory


@dataclass(frozen=True)
class Span:
    """`nbytes` of `file` from byte `start` on."""

    file: File
    start: int
    nbytes: int

    def pieces(self, size: int = _PIECE) -> Iterator[Span]:
        """All of it, a piece after another."""
        for done in range(0, self.nbytes, size):
            yield Span(self.file, self.start + done, min(size, self.nbytes - done))

    def copy_to(self, out: int) -> None:
        """Append it to what the descriptor `out` has written. The system moves the bytes where it can: they are not read into our memory.

        GGUFError when the file was cut short meanwhile, ModelError when it cannot be read, OSError when `out` cannot be written.
        """
        self._ask_ahead()
        done = 0
        while done < self.nbytes:
            done += self._sent(out, done) or self._carried(out, done)

    def bytes(self) -> bytes:
        """It, in memory."""
        return self.file.read(self.start, self.nbytes)

    def _ask_ahead(self) -> None:
        """Have the system read what is likely to be next meanwhile: else it begins when that is asked for, and we wait."""
        self.file.ask(self.start + _AHEAD, self.nbytes)

    def _sent(self, out: int, done: int) -> int:
        """Copy in the system, from byte `done` on; how many bytes that were, 0 where it cannot."""
        if sys.platform == "linux":   # elsewhere it wants a socket
            with suppress(OSError):   # said by what is tried next
                return os.sendfile(out, self.file.fd, self.start + done, self.nbytes - done)
        return 0

    def _carried(self, out: int, done: int) -> int:
        """Copy through memory, from byte `done` on; how many bytes that were."""
        content = memoryview(self.file.read(self.start + done, min(_CARRIED, self.nbytes - done)))
        return os.write(out, content)
