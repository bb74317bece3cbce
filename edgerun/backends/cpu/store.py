"""Compiled kernels kept as machine code, so that a warm start needs no compiler. Knows no kernel by name.

One folder per (sources, llvmlite, target), one file per kernel:

    "edgerun kernel 1\\n" | sha256 of the rest, 32 bytes | symbol, "\\0" | relocatable object

The folder belongs to the user and nobody else can write it, links are not followed, the digest is checked and the object may
refer to nothing but memset and its kin: else the entry is ignored and made anew. Missing kernels are compiled in child
processes, so that this one never imports Numba; without a writable folder they stay in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from edgerun import config
from edgerun.backends.cpu import elf
from edgerun.backends.cpu.compile import compile_kernels
from edgerun.backends.cpu.isa import Isa, target

MAGIC = b"edgerun kernel 1\n"
Progress = Callable[[int, int], None]


def _sources_digest() -> bytes:
    """Hash of everything that decides what a kernel computes."""
    here = Path(__file__).parent
    files = [*here.glob("kernels/*.py"), here.parent / "executor.py", *(here.parents[1] / "formats").glob("*.py")]
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.digest()


def _encode(symbol: str, code: bytes) -> bytes:
    payload = symbol.encode() + b"\0" + code
    return MAGIC + hashlib.sha256(payload).digest() + payload


def _decode(data: bytes) -> tuple[str, bytes] | None:
    digest, payload = data[len(MAGIC) : len(MAGIC) + 32], data[len(MAGIC) + 32 :]
    if not data.startswith(MAGIC) or hashlib.sha256(payload).digest() != digest:
        return None
    symbol, _, code = payload.partition(b"\0")
    return (symbol.decode(), code) if elf.harmless(code) else None


class KernelStore:
    """The kernels for one ISA on this machine."""

    def __init__(self, isa: Isa, folder: Path | None = None) -> None:
        import llvmlite

        cpu, features = target(isa)
        self.isa = isa
        key = hashlib.sha256(_sources_digest() + f"{llvmlite.__version__} {isa.name} {cpu} {features}".encode()).hexdigest()[:24]
        self.folder = (folder or config.kernels_folder()) / f"{isa.name}-{key}"

    def load(self, names: Iterable[str], progress: Progress | None = None) -> dict[str, tuple[str, bytes]]:
        """(symbol, object code) of each kernel; missing ones are compiled, with progress(done, of)."""
        wanted = sorted(set(names))
        found = {name: entry for name in wanted if (entry := self._read(name))}
        if len(found) == len(wanted):
            return found
        with self._lock():
            found.update({name: entry for name in wanted if name not in found and (entry := self._read(name))})
            missing = [name for name in wanted if name not in found]
            if missing:
                with tempfile.TemporaryDirectory(prefix="edgerun-") as scratch:
                    for name, symbol, code in compile_kernels(missing, self.isa, scratch, progress):
                        found[name] = symbol, code
                        self._write(name, _encode(symbol, code))
        return found

    def _usable(self) -> bool:
        """Whether the folder exists and nobody else could have written into it."""
        try:
            for folder in (self.folder.parent, self.folder):
                info = os.lstat(folder)
                if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o022:
                    return False
        except OSError:
            return False
        return True

    def _read(self, name: str) -> tuple[str, bytes] | None:
        if not self._usable():
            return None
        try:
            fd = os.open(self.folder / f"{name}.o", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        with os.fdopen(fd, "rb") as file:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o022 or info.st_size > 1 << 24:
                return None
            return _decode(file.read())

    def _write(self, name: str, data: bytes) -> None:
        """Keep an entry if that is possible; a read-only home is no error."""
        if not self._usable():
            return
        with contextlib.suppress(OSError):
            fd, part = tempfile.mkstemp(dir=self.folder, prefix=f".{name}.")
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(data)
                os.replace(part, self.folder / f"{name}.o")
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(part)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One process compiles while others wait; without a usable folder everybody compiles for himself."""
        with contextlib.suppress(OSError):
            self.folder.parent.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.folder.parent, self.folder):
                folder.mkdir(mode=0o700, exist_ok=True)
        try:
            fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError:
            yield
            return
        try:
            with contextlib.suppress(ImportError, OSError):
                import fcntl

                fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
