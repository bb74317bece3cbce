"""Compiling kernels in child processes, two or more at a time. Knows how to start them, not what a kernel is.

A child is `python -m edgerun.backends.cpu.kernels ISA FOLDER NAME...`; it writes FOLDER/NAME.o and prints NAME when done.
Numba's target is a setting of the whole process, so a forced ISA needs one of its own anyway.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from edgerun.backends.cpu.isa import Isa, target

_SECONDS = {"attention": 4.0, "product": 2.0, "product_float": 1.5}


def _shares(names: list[str], processes: int) -> list[list[str]]:
    """Longest first, each to the process with the least to do."""
    shares: list[list[str]] = [[] for _ in range(processes)]
    loads = [0.0] * processes
    for name in sorted(names, key=lambda n: -_SECONDS.get(n.split("-")[0], 0.3)):
        i = loads.index(min(loads))
        shares[i].append(name)
        loads[i] += _SECONDS.get(name.split("-")[0], 0.3)
    return [share for share in shares if share]


def compile_kernels(names: list[str], isa: Isa, folder: str, progress: Callable[[int, int], None] | None) -> Iterator[tuple[str, str, bytes]]:
    """(name, symbol, object code) of each kernel as it is ready. Numba failing is a bug: RuntimeError with its last words."""
    cpu, features = target(isa)
    root = str(Path(__file__).parents[3])
    env = dict(os.environ, NUMBA_CPU_NAME=cpu, NUMBA_CPU_FEATURES=features, EDGERUN_KERNEL_ISA=isa.name, NUMBA_NUM_THREADS="1")
    env["PYTHONPATH"] = os.pathsep.join(p for p in (root, env.get("PYTHONPATH", "")) if p)
    env.pop("NUMBA_DISABLE_JIT", None)
    if progress:
        progress(0, len(names))
    done, children = 0, []
    errors = tempfile.TemporaryFile()
    read, write = os.pipe()
    try:
        for share in _shares(names, min(4, len(names), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)):
            command = [sys.executable, "-P", "-m", "edgerun.backends.cpu.kernels", folder, *share]
            children.append(subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=write, stderr=errors, cwd=folder))
        os.close(write)
        write = -1
        with os.fdopen(read) as lines:
            for line in lines:
                name = line.strip()
                if name not in names:
                    continue
                symbol, _, code = Path(folder, f"{name}.o").read_bytes().partition(b"\0")
                done += 1
                if progress:
                    progress(done, len(names))
                yield name, symbol.decode(), code
        codes = [child.wait() for child in children]
        if any(codes) or done < len(names):
            errors.seek(0)
            raise RuntimeError("compiling kernels failed: " + errors.read()[-2000:].decode(errors="replace"))
    finally:
        if write >= 0:
            os.close(write)
        for child in children:
            child.kill()
            child.wait()
        errors.close()
