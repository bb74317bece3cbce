"""Removing kernel folders that nobody has used for a month: those of older versions, other CPUs. Knows no kernel.

Only what the store itself makes is touched: folders named as it names them, in them its entries, parts and the lock, all of them
this user's own. Whatever else lies there keeps its folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

KEPT = 30 * 86400.0   # seconds since the last use
_DAY = 86400.0
_FOLDER = re.compile(r"[a-z0-9_]+-[0-9a-f]{24}")
_FILE = re.compile(r"lock|[\w.-]+\.o|\.[\w-]+\.[a-z0-9_]{8}")


def mark_used(folder: Path) -> None:
    """Have the folder's time say that it was used, at most once a day."""
    with contextlib.suppress(OSError):
        if time.time() - os.lstat(folder).st_mtime > _DAY:
            os.utime(folder, follow_symlinks=False)


def sweep(parent: Path, current: Path) -> None:
    """Remove the folders in `parent` that were not used for long, all but `current`. What cannot be removed stays."""
    for folder in old_folders(parent):
        if folder.name != current.name:
            with contextlib.suppress(OSError):
                _remove(folder)


def old_folders(parent: Path) -> Iterator[Path]:
    """The store's folders that were not used for long."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            info = entry.stat(follow_symlinks=False)
            ours = stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid() and not info.st_mode & 0o022
            if ours and _FOLDER.fullmatch(entry.name) and time.time() - info.st_mtime > KEPT:
                yield Path(entry.path)


def _remove(folder: Path) -> None:
    """Remove the store's files and the folder, unless another process is compiling into it (then BlockingIOError)."""
    with _locked(folder / "lock"):
        for path in folder.iterdir():
            info = path.lstat()
            if stat.S_ISREG(info.st_mode) and info.st_uid == os.getuid() and _FILE.fullmatch(path.name):
                path.unlink()
        folder.rmdir()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the store's lock; OSError where somebody else does, or where there are no locks."""
    try:
        import fcntl
    except ImportError as error:
        raise OSError("this system has no locks") from error
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)
