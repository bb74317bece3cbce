"""A file on its way: written to NAME.part beside its place, hashed as it grows, and moved there only when whole and right.

Knows nothing of where the bytes come from. One process writes a part at a time (`lock.py`).
"""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

from edgerun.errors import ResourceError, SourceError
from edgerun.hub.names import shown

_BLOCK = 1 << 20


class Part:
    """The growing file for `target`; what an earlier try left is continued. `tag` is the version of the remote file it belongs to."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(target.name + ".part")
        self._tag_path = target.with_name(target.name + ".part.tag")
        self.size = 0
        self.head = b""          # the first four bytes
        self._hash = hashlib.sha256()
        self.tag = _read_tag(self._tag_path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "r+b" if self.path.exists() else "w+b")   # noqa: SIM115 (closed by close)
        except OSError as error:
            raise self._unwritable(error) from error
        while block := self._file.read(_BLOCK):
            self._count(block)

    def restart(self, tag: str) -> None:
        """Forget what is there and begin anew with the remote file's version `tag` (empty when it has none)."""
        self._file.seek(0)
        self._file.truncate()
        self.size, self.head, self._hash, self.tag = 0, b"", hashlib.sha256(), tag
        self._tag_path.write_text(tag, encoding="utf-8")

    def write(self, block: bytes) -> None:
        """Append `block`. ResourceError when the disk does not take it."""
        try:
            self._file.write(block)
        except OSError as error:
            raise self._unwritable(error) from error
        self._count(block)

    def finish(self, size: int | None, sha256: str | None) -> None:
        """Check length and hash where they are known, and put the file in its place for good.

        SourceError, and nothing is left behind, when it is not the file that was promised.
        """
        name = shown(self.target.name)
        if size is not None and self.size != size:
            self.discard()
            raise SourceError(f"{name} has {self.size} bytes instead of {size}; it was removed, fetch it again")
        if sha256 is not None and self._hash.hexdigest() != sha256:
            self.discard()
            raise SourceError(f"{name} has SHA-256 {self._hash.hexdigest()[:16]}... instead of {sha256[:16]}...; it was removed, fetch it again")
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self.path, self.target)
            _sync_folder(self.target.parent)
        except OSError as error:
            raise self._unwritable(error) from error
        self._tag_path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what has been written."""
        self.close()
        self.path.unlink(missing_ok=True)
        self._tag_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop writing; what is there stays for the next try."""
        try:
            self._file.close()
        except OSError as error:   # the last bytes did not fit
            raise self._unwritable(error) from error

    def _count(self, block: bytes) -> None:
        if len(self.head) < 4:
            self.head = (self.head + block)[:4]
        self._hash.update(block)
        self.size += len(block)

    def _unwritable(self, error: OSError) -> ResourceError:
        where = shown(self.path, 200)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return ResourceError(f"the disk is full: {where} could not grow beyond {self.size} bytes; make room and try again, it continues")
        return ResourceError(f"{where} cannot be written ({error.strerror}); check its permissions, or set EDGERUN_HOME (HF_HOME for hub files)")


def _read_tag(path: Path) -> str:
    """What `restart` wrote; empty where it is missing or damaged, so that the part is not continued by it."""
    try:
        tag = path.read_bytes().decode("ascii")
    except (OSError, ValueError):
        return ""
    return tag if tag.isprintable() else ""


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:   # some network file systems refuse to sync a folder
        pass
    finally:
        os.close(handle)
