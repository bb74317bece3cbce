"""Compiling the kernels of a model before it is needed. Knows which kernels; reads no weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgerun.backends.cpu import isa as isas
from edgerun.backends.cpu.ceilings import KERNELS
from edgerun.backends.cpu.executor import kernels
from edgerun.backends.cpu.store import KernelStore
from edgerun.backends.executor import Tensor
from edgerun.errors import OutputError
from edgerun.graph.program import Program


def warm(
    program: Program,
    tensors: Mapping[str, Tensor],
    *,
    max_rows: int = 512,
    numerics: str = "fast",
    kv: str = "f16",
    progress: Callable[[str, int, int], None] | None = None,
) -> int:
    """Compile what `compile` would need and what measuring this machine needs; how many kernels that were.

    OutputError when they cannot be kept: then there is no point in doing it ahead.
    """
    wanted = kernels(program, tensors, max_rows=max_rows, numerics=numerics, kv=kv) | set(KERNELS)
    store = KernelStore(isas.choose())
    missing = store.missing(wanted)
    store.load(wanted, (lambda done, of: progress("kernels", done, of)) if progress else None)
    if missing and (lost := store.missing(wanted)):
        raise OutputError(f"{len(lost)} compiled kernels cannot be kept in {str(store.folder.parent)!a}; make it writable by you alone, or set EDGERUN_HOME")
    return len(missing)
