"""One process at a time per file. Knows nothing of what is protected."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from edgerun.errors import ResourceError
from edgerun.hub.names import shown

_POLL = 0.1   # seconds; waiting in small steps keeps Ctrl-C working


class Lock:
    """Holds the file `path` locked inside a `with`; `waiting` is called once if another process has it.

    The same kind of lock as the hub's library takes (flock on the whole file), so both wait for each other. The lock dies with its
    process; the file stays, for removing it would let two processes hold it.
    """

    def __init__(self, path: Path, waiting: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._waiting = waiting
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Lock:
        if not self.acquire():
            self._waiting()
            while not self.acquire():
                time.sleep(_POLL)
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def acquire(self) -> bool:
        """Take the lock if nobody has it. ResourceError when its folder cannot be written."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = open(self._path, "ab")   # noqa: SIM115 (closed by release)
        except OSError as error:
            raise ResourceError(f"{shown(self._path, 200)} cannot be written ({error.strerror}); check the permissions of its folder") from error
        if locked(file):
            self._file = file
            return True
        file.close()
        return False

    def release(self) -> None:
        """Let the next one have it."""
        if self._file is not None:
            self._file.close()
            self._file = None


def locked(file: IO[bytes]) -> bool:
    """Lock `file` without waiting; False when another process holds it. A file system without locks lets everyone in."""
    if os.name != "posix":
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)   # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
