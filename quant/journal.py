"""What is done of files that are being written, so that an interrupted run is continued: a few lines beside each .part, and a lock.

    edgerun 1 SHA256        of the new file's head, and of what its tensors are made from
    CRC32                   of each tensor that has been written, in their order; 0 for one that is copied, which is compared instead

Knows neither models nor tensors. A line is a claim: `GGUFWriter` reads the bytes again before it goes on behind them. What is left by
a run that was killed is continued by the next one that would write the same, and replaced by any other to the same place.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import edgerun
from edgerun.errors import OutputError
from edgerun.gguf.file import File, shown
from edgerun.hub.lock import locked

SUFFIX = ".part.journal"
_HEAD = 1 << 20          # bytes of a source that are compared: where its header is
_LONGEST = 4 << 20       # bytes of a journal that are read
_LINE = re.compile(rb"[0-9a-f]{8}")


class Journal:
    """The journal of the file that is to be at `out`, locked from `open` to `close`. made_from: what else than its head it depends on."""

    def __init__(self, out: Path, made_from: bytes) -> None:
        self._out, self._path = out, out.with_name(out.name + SUFFIX)
        self._made_from = made_from
        self._title = b""
        self._file: IO[bytes] | None = None

    def open(self) -> None:
        """Take the lock. OutputError when another process writes there, or nothing can be written there."""
        while self._file is None:
            try:
                file = open(self._path, "a+b", buffering=0)   # noqa: SIM115 (closed by close)
            except OSError as error:
                raise OutputError(f"{shown(str(self._out), 1000)}: cannot be written: {error.strerror or error}") from None
            file.seek(0)
            if not locked(file):
                file.close()
                raise OutputError(f"{shown(str(self._out), 1000)}: another process is writing it; wait for that, or give another name")
            if self._is_there(file):
                self._file = file
            else:   # removed by one that was ready in this very moment
                file.close()

    def known(self, head: bytes) -> list[int]:
        """The checksums that an earlier try to write the same file left; empty if there are none."""
        self._title = b"edgerun 1 " + hashlib.sha256(hashlib.sha256(head).digest() + self._made_from).hexdigest().encode()
        assert self._file is not None
        self._file.seek(0)
        title, *lines = self._file.read(_LONGEST).split(b"\n")
        found: list[int] = []
        for line in lines[:-1] if title == self._title else ():   # the last one may have been cut
            if not _LINE.fullmatch(line):
                break
            found.append(int(line, 16))
        return found

    def restart(self, checksums: Iterable[int]) -> None:
        """Begin anew, with what was found to be true."""
        assert self._file is not None
        self._file.truncate(0)
        self._file.write(b"\n".join([self._title, *(b"%08x" % each for each in checksums), b""]))

    def add(self, checksum: int) -> None:
        """Another tensor is there."""
        assert self._file is not None
        self._file.write(b"%08x\n" % checksum)

    def close(self, keep: bool = False) -> None:
        """Let others write there; keep: leave it for the next try."""
        if self._file is None:
            return
        if not keep and os.name == "posix":   # while it is locked, so that nobody else's is removed
            with suppress(OSError):
                self._path.unlink()
        self._file.close()
        self._file = None
        if not keep and os.name != "posix":
            with suppress(OSError):
                self._path.unlink()

    def _is_there(self, file: IO[bytes]) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), os.stat(self._path))
        except OSError:
            return False


@contextmanager
def journals(paths: Iterable[Path], made_from: bytes) -> Iterator[list[Journal]]:
    """The journals of files that are written together. They stay where the program is told to end, and where it is killed."""
    found = [Journal(path, made_from) for path in paths]
    keep = False
    try:
        for journal in found:
            journal.open()
        yield found
    except (KeyboardInterrupt, SystemExit):
        keep = True
        raise
    finally:
        for journal in found:
            journal.close(keep)


def made_from(files: Iterable[File], *more: bytes) -> bytes:
    """What tells sources from others: names, sizes, times and first bytes of files, and all of `more`."""
    digest = hashlib.sha256(edgerun.__version__.encode())
    for file in files:
        head = hashlib.sha256(file.read(0, min(file.size, _HEAD))).hexdigest()
        digest.update(f"\0{file.path.name}\0{file.size}\0{os.fstat(file.fd).st_mtime_ns}\0{head}".encode("utf-8", "surrogateescape"))
    for each in more:
        digest.update(hashlib.sha256(each).digest())
    return digest.digest()
