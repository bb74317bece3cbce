"""Compiled kernels kept as machine code, so that a warm start needs no compiler. Knows no kernel by name.

One folder per (sources, llvmlite, target), one file per kernel:

    "edgerun kernel 1\\n" | sha256 of folder and kernel name and of the rest, 32 bytes | symbol, "\\0" | relocatable object

The folder belongs to the user and nobody else can write it, links are not followed, the digest is checked and the object may
refer to nothing but memset and its kin: else the entry is ignored and made anew. Missing kernels are compiled in child
processes, so that this one never imports Numba; without a writable folder they stay in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from edgerun import config
from edgerun.backends.cpu import objectcode
from edgerun.backends.cpu.compiler import compile_kernels
from edgerun.backends.cpu.isa import Isa, host, target
from edgerun.backends.cpu.sweep import mark_used, sweep
from edgerun.backends.keep import keep

MAGIC = b"edgerun kernel 1\n"
PATIENCE = 120.0   # seconds to wait for another process that compiles; it may be stopped or hang
_REPARSE_POINT = 0x400   # FILE_ATTRIBUTE_REPARSE_POINT
# No link is followed, no device waited for; bytes as they are. Systems have some of these.
_CAREFUL = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
Progress = Callable[[int, int], None]


def _sources_digest() -> bytes:
    """Hash of everything that decides what a kernel computes."""
    here = Path(__file__).parent
    files = [*here.glob("kernels/*.py"), here / "compiler.py", here.parent / "executor.py", *(here.parents[1] / "formats").glob("*.py")]
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.digest()


class KernelStore:
    """The kernels for one ISA on this machine."""

    def __init__(self, isa: Isa, folder: Path | None = None) -> None:
        import llvmlite

        cpu, features = target(isa)
        self.isa = isa
        key = hashlib.sha256(_sources_digest() + f"{llvmlite.__version__} {isa.name} {cpu} {features} {host()[0]}".encode()).hexdigest()[:24]
        self.folder = (folder or config.kernels_folder()) / f"{isa.name}-{key}"

    def load(self, names: Iterable[str], progress: Progress | None = None) -> dict[str, tuple[str, bytes]]:
        """(symbol, object code) of each kernel; missing ones are compiled, with progress(done, of).

        ResourceError where the compiler gets no memory or no temporary folder; RuntimeError where it fails, which is a bug.
        """
        wanted = sorted(set(names))
        found = {name: entry for name in wanted if (entry := self._read(name))}
        if len(found) == len(wanted):
            mark_used(self.folder)
            return found
        with self._lock(lambda: progress and progress(len(wanted) - len(self.missing(wanted)), len(wanted))):
            found.update({name: entry for name in wanted if name not in found and (entry := self._read(name))})
            missing = [name for name in wanted if name not in found]
            for name, symbol, code in compile_kernels(missing, self.isa, progress) if missing else ():
                if not objectcode.harmless(code):
                    raise RuntimeError(f"kernel {name} for {self.isa.name} refers to something outside itself")
                found[name] = symbol, code
                self._write(name, symbol.encode() + b"\0" + code)
            if missing and self._usable():
                sweep(self.folder.parent, self.folder)
        return found

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of the kernels that are not kept, or not in a state to be used."""
        return [name for name in sorted(set(names)) if not self._read(name)]

    def _digest(self, name: str, payload: bytes) -> bytes:
        """An entry is good in its own place only: another kernel's code, or another target's, is none of this one's."""
        return hashlib.sha256(f"{self.folder.name}/{name}\0".encode() + payload).digest()

    def _usable(self) -> bool:
        """Whether the folder exists and nobody else could have written into it."""
        try:
            for folder in (self.folder.parent, self.folder):
                info = os.lstat(folder)
                if not stat.S_ISDIR(info.st_mode) or not _ours(info):
                    return False
        except OSError:
            return False
        return True

    def _read(self, name: str) -> tuple[str, bytes] | None:
        """(symbol, object code) of a sound entry."""
        data = self._bytes(name) if self._usable() else b""
        digest, payload = data[len(MAGIC) : len(MAGIC) + 32], data[len(MAGIC) + 32 :]
        if not data.startswith(MAGIC) or self._digest(name, payload) != digest:
            return None
        symbol, _, code = payload.partition(b"\0")
        return (symbol.decode(), code) if symbol.isascii() and objectcode.harmless(code) else None

    def _bytes(self, name: str) -> bytes:
        """What is in an entry, if it is a file of the user's own."""
        with contextlib.suppress(OSError), open(os.open(self.folder / f"{name}.o", os.O_RDONLY | _CAREFUL), "rb") as file:
            info = os.fstat(file.fileno())
            if stat.S_ISREG(info.st_mode) and _ours(info) and info.st_size <= 1 << 24:
                return file.read()
        return b""

    def _write(self, name: str, payload: bytes) -> None:
        """Keep an entry if that is possible; a read-only home is no error."""
        if not self._usable():
            return
        keep(self.folder / f"{name}.o", MAGIC + self._digest(name, payload) + payload)

    @contextlib.contextmanager
    def _lock(self, waiting: Callable[[], object]) -> Iterator[None]:
        """One process compiles while others wait, and call `waiting` now and then; without a usable folder everybody compiles for himself."""
        with contextlib.suppress(OSError):
            self.folder.parent.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.folder.parent, self.folder):
                folder.mkdir(mode=0o700, exist_ok=True)
        try:
            fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | _CAREFUL, 0o600) if self._usable() else -1
        except OSError:
            fd = -1
        try:
            _wait_for(fd, waiting)
            yield
        finally:
            if fd >= 0:
                os.close(fd)


def _ours(info: os.stat_result) -> bool:
    """Whether nobody else could have written it. Windows tells neither owner nor rights here; a profile's folder is its user's."""
    if not hasattr(os, "getuid"):
        return not getattr(info, "st_file_attributes", 0) & _REPARSE_POINT   # a junction, which is a kind of link
    return info.st_uid == os.getuid() and not info.st_mode & 0o022


def _wait_for(fd: int, waiting: Callable[[], object]) -> None:
    """Lock a file (-1: none), calling `waiting` meanwhile, or give up after a while, and where the file system knows no locks."""
    end = time.monotonic() + PATIENCE
    with contextlib.suppress(OSError):
        while fd >= 0 and time.monotonic() < end:
            try:
                _lock_now(fd)
                return
            except BlockingIOError:
                waiting()
                time.sleep(0.1)


def _lock_now(fd: int) -> None:
    """Lock a file until it is closed; BlockingIOError where another process has it."""
    try:
        import fcntl
    except ImportError:   # Windows
        import msvcrt

        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)   # type: ignore[attr-defined,unused-ignore]
        except PermissionError:
            raise BlockingIOError from None
    else:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
