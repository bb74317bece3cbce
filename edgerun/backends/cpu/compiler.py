"""Compiling kernels in child processes, two or more at a time. Knows how to start them, not what a kernel is.

A child is `python -m edgerun.backends.cpu.kernels FOLDER NAME...`; it writes FOLDER/NAME.o and prints NAME when done.
Numba's target is a setting of the whole process, so a forced ISA needs one of its own anyway.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from edgerun import machine
from edgerun.backends.cpu.isa import Isa, host, target
from edgerun.backends.cpu.kernels import REFUSED
from edgerun.errors import EdgerunError, ResourceError

_SECONDS = {"attention": 8.0, "product": 4.0, "product_float": 2.0, "experts": 4.0}   # the rest takes about 0.4
_MOST = 4   # children at a time: each takes 200 MB


def compile_kernels(names: list[str], isa: Isa, progress: Callable[[int, int], None] | None) -> Iterator[tuple[str, str, bytes]]:
    """(name, symbol, object code) of each kernel as it is ready.

    ResourceError without memory or a temporary folder; EdgerunError where the ISA fails its own test; Numba failing is a bug:
    RuntimeError with its last words.
    """
    if progress:
        progress(0, len(names))
    with _scratch() as folder, open(Path(folder, "errors"), "w+b") as errors:
        for done, name in enumerate(_compile(names, isa, folder, errors), 1):
            symbol, _, code = Path(folder, f"{name}.o").read_bytes().partition(b"\0")
            if progress:
                progress(done, len(names))
            yield name, symbol.decode(), code


def environment(isa: Isa, core: str | None = None) -> dict[str, str]:
    """What a child finds in its environment: this package, and no setting of Numba's but the target for `isa`.

    core: the CPU whose memory the code is for, as LLVM calls it; this one's where None.
    """
    cpu, features = target(isa)
    paths = [str(Path(__file__).parents[3]), *(os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path)]
    own = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    return own | {
        "PYTHONPATH": os.pathsep.join(paths),
        "EDGERUN_KERNEL_ISA": isa.name,
        "EDGERUN_KERNEL_CORE": host()[0] if core is None else core,
        "NUMBA_CPU_NAME": cpu,
        "NUMBA_CPU_FEATURES": features,
        "NUMBA_NUM_THREADS": "1",
        "NUMBA_OPT": "2",   # of 3: less time, half the code; inner loops are written out, and as fast
    }


def _compile(names: list[str], isa: Isa, folder: str, errors: IO[bytes]) -> Iterator[str]:
    """The name of each kernel when its object lies in the folder. No child outlives this, whatever happens."""
    children: list[subprocess.Popen[bytes]] = []
    read, write = os.pipe()
    with open(read, errors="replace") as lines:
        try:
            try:
                for share in _shares(names, min(_MOST, machine.threads().count)):
                    command = [sys.executable, "-P", "-m", "edgerun.backends.cpu.kernels", folder, *share]
                    child = subprocess.Popen(command, env=environment(isa), stdin=subprocess.DEVNULL, stdout=write, stderr=errors, cwd=folder)
                    children.append(child)
            finally:
                os.close(write)   # the children hold the other copies: the lines end when they do
            left = set(names)
            for line in lines:
                if line.strip() in left:
                    left.remove(line.strip())
                    yield line.strip()
            _check([child.wait() for child in children], left, errors)
        finally:
            for child in children:
                child.kill()
            for child in children:
                child.wait()


def _check(codes: list[int], left: set[str], errors: IO[bytes]) -> None:
    """Raise what the ends of the children mean."""
    if hasattr(signal, "SIGKILL") and -signal.SIGKILL in codes:   # Windows has no such end
        raise ResourceError("the system killed a compiler of kernels, most likely for want of memory; free some and try again")
    errors.seek(0)
    if REFUSED in codes:
        raise EdgerunError(errors.read()[-1000:].decode(errors="replace").splitlines()[-1])
    if any(codes) or left:
        raise RuntimeError(f"compiling kernels failed (exit {codes}): " + errors.read()[-2000:].decode(errors="replace"))


def _scratch() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="edgerun-")
    except OSError as error:
        raise ResourceError(f"compiling kernels needs a folder for temporary files: {error.strerror}; set TMPDIR to one") from None


def _shares(names: list[str], processes: int) -> list[list[str]]:
    """Longest first, each to the process with the least to do."""
    shares: list[list[str]] = [[] for _ in range(processes)]
    loads = [0.0] * processes
    costs = {name: _SECONDS.get(name.split("-")[0], 0.4) for name in names}
    for name in sorted(names, key=lambda n: -costs[n]):
        i = loads.index(min(loads))
        shares[i].append(name)
        loads[i] += costs[name]
    return [share for share in shares if share]
