"""Big pieces of memory: aligned, in huge pages where that pays, resident only where touched. Knows no use."""

from __future__ import annotations

import contextlib
import mmap

import numpy as np

from edgerun.errors import ResourceError

ALIGN = 64
# Not shared with a forked child; and Linux gives huge pages to private memory only, unless told otherwise.
_FLAGS = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}


class Arena:
    """One anonymous mapping of `nbytes`, handed out in aligned pieces; zero until written.

    huge: in huge pages where the system offers them, which pays where all of it is read over and over.
    ResourceError when the system does not grant so much.
    """

    def __init__(self, nbytes: int, what: str, huge: bool = False) -> None:
        self._at = 0
        try:
            self._map = mmap.mmap(-1, max(nbytes, 1), **_FLAGS)
        except (OSError, OverflowError, ValueError) as error:
            raise ResourceError(f"cannot reserve {nbytes / 1e6:.0f} MB for {what}: {error}") from None
        if huge and hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):   # a kernel built without them
                self._map.madvise(mmap.MADV_HUGEPAGE)
        self._bytes = np.frombuffer(self._map, np.uint8)
        self.nbytes = nbytes

    def take(self, nbytes: int) -> np.ndarray:
        """The next `nbytes` as uint8, aligned to 64 bytes."""
        piece = self._bytes[self._at : self._at + nbytes]
        assert piece.nbytes == nbytes, "the arena was planned too small"
        self._at += aligned(nbytes)
        return piece

    def floats(self, *shape: int) -> np.ndarray:
        """The next piece as float32 of a shape."""
        return self.take(4 * int(np.prod(shape))).view(np.float32).reshape(shape)


def aligned(nbytes: int) -> int:
    """nbytes rounded up to the alignment."""
    return -(-nbytes // ALIGN) * ALIGN
