"""A regular file that others may change while we read it. Knows nothing of what is in it.

Everything is read with pread into memory of our own: a file that is cut short under us gives an error, where a mapping
would give SIGBUS. So `mapped` is for those who asked for it.
"""

from __future__ import annotations

import functools
import mmap
import operator
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from edgerun.errors import GGUFError, ModelError

if TYPE_CHECKING:
    import numpy as np

_KINDS = {
    stat.S_IFDIR: "is a folder; name the .gguf file in it",
    stat.S_IFIFO: "is a named pipe; save the model to a file first",
    stat.S_IFCHR: "is a device; name a .gguf file",
    stat.S_IFBLK: "is a device; name a .gguf file",
    stat.S_IFSOCK: "is a socket; name a .gguf file",
}
# Never to wait for a device, never to become its terminal, not for children; bytes as they are. Systems have some of these.
_FLAGS = functools.reduce(operator.or_, (getattr(os, f"O_{name}", 0) for name in ("NONBLOCK", "NOCTTY", "CLOEXEC", "NOINHERIT", "BINARY")))
_PIECE = 1 << 22   # bytes at a time where a copy has to be made


def shown(text: str, limit: int = 80) -> str:
    """Text of unknown origin, made fit for a message: no control characters, at most `limit` characters."""
    text = text[: limit + 1]   # before it is escaped: it may be megabytes
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= limit else text[: limit - 3] + "..."


class File:
    """An open regular file. Reads are thread-safe; `size` is what it was at opening."""

    def __init__(self, path: Path):
        """Open `path`; ModelError when it is missing, forbidden, or anything but a regular file. Never blocks."""
        self.path = path
        self.name = shown(str(path), 1000)
        self.fd = -1
        self._seeking = threading.Lock()
        self._mapping: np.ndarray | None = None
        try:
            self._require_regular(os.stat(path).st_mode)   # before opening: to open a device can have effects
            self.fd = os.open(path, os.O_RDONLY | _FLAGS)
            status = os.fstat(self.fd)
            self._require_regular(status.st_mode)   # again: it may have been replaced in between
        except OSError as error:
            self.close()
            raise ModelError(f"{self.name}: cannot be opened: {error.strerror or error}") from None
        except ValueError:
            raise ModelError(f"{self.name}: is not a possible path") from None
        except ModelError:
            self.close()
            raise
        self.size = status.st_size

    def _require_regular(self, mode: int) -> None:
        if not stat.S_ISREG(mode):
            raise ModelError(f"{self.name}: {_KINDS.get(stat.S_IFMT(mode), 'is not a regular file; name a .gguf file')}")

    def read(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes; GGUFError when the file has become shorter."""
        buffer = bytearray(count)
        self.read_into(memoryview(buffer), offset)
        return bytes(buffer)

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` (bytes, contiguous) from `offset`; GGUFError when the file has become shorter."""
        done = 0
        while done < len(buffer):
            try:
                got = self._read_some(buffer[done:], offset + done)
            except OSError as error:
                if self.fd < 0:
                    raise ValueError("read of a closed GGUF file") from None
                raise ModelError(f"{self.name}: cannot be read at byte {offset + done}: {error.strerror or error}") from None
            if not got:
                self._cut(offset + done)
            done += got

    def ask(self, offset: int, count: int) -> None:
        """Say that these bytes, as far as there are any, will be read soon: the system may begin."""
        if hasattr(os, "posix_fadvise"):
            with suppress(OSError):   # a hint
                os.posix_fadvise(self.fd, offset, count, os.POSIX_FADV_WILLNEED)

    def mapped(self) -> np.ndarray:
        """The whole file, as it was at opening, as uint8 to be read only; it stays mapped as long as an array of it is there.

        GGUFError when the file has become shorter, ModelError where it cannot be mapped.
        """
        import numpy as np

        if self._mapping is None:
            try:
                self._mapping = np.frombuffer(mmap.mmap(self.fd, self.size, access=mmap.ACCESS_READ), np.uint8)
            except ValueError:
                self._cut(os.fstat(self.fd).st_size)
            except OSError as error:
                raise ModelError(f"{self.name}: cannot be mapped: {error.strerror or error}; let it be repacked") from None
        return self._mapping

    def _read_some(self, buffer: memoryview, offset: int) -> int:
        """Read at `offset`; how many bytes came, 0 at the end of the file."""
        if hasattr(os, "preadv"):
            return os.preadv(self.fd, [buffer], offset)
        with self._seeking:   # Windows: only one thread at a time may move the one position that a file has
            os.lseek(self.fd, offset, os.SEEK_SET)
            data = os.read(self.fd, min(len(buffer), _PIECE))
        buffer[: len(data)] = data
        return len(data)

    def _cut(self, at: int) -> NoReturn:
        raise GGUFError(f"{self.name}: was cut short at byte {at} while in use (it had {self.size} bytes); download it again")

    def close(self) -> None:
        """Give the descriptor back. Calling it twice is harmless."""
        self._mapping = None
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
