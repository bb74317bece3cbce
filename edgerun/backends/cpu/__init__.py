"""The CPU backend: Numba kernels over LLVM vectors, stored as machine code.

`compile` makes an executor, `plan` says what memory it takes, `mapped` which matrices can stay in the file's mapping,
`warm` compiles its kernels ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgerun.backends.cpu.ahead import warm
from edgerun.backends.cpu.executor import CpuExecutor, matrices_of, plan
from edgerun.backends.cpu.raw import servable
from edgerun.backends.executor import SLOTS, Tensor
from edgerun.graph.program import Program

__all__ = ["compile", "mapped", "plan", "warm"]


def compile(
    program: Program,
    tensors: Mapping[str, Tensor],
    *,
    pages: int,
    slots: int = SLOTS,
    max_rows: int = 512,
    threads: int = 1,
    numerics: str = "fast",
    kv: str = "f16",
    repack: str = "now",
    progress: Callable[[str, int, int], None] | None = None,
) -> CpuExecutor:
    """Load the weights and make the program runnable.

    pages: pages of key/value memory; slots: of recurrent state; numerics: "fast" (weights as they are, int8 activations) or "exact" (float32); kv:
    a kind of `kernels/kinds.py` or two, keys:values; repack: "now", "later" (in the first two steps, as far as possible) or
    "never" (matrices stay in the file's mapping, those that `mapped` says); progress(what, done, of) with what "weights" or "kernels". Errors: those of reading tensors, ResourceError.
    """
    return CpuExecutor(program, tensors, pages=pages, slots=slots, max_rows=max_rows, threads=threads, exact=numerics == "exact", kv=kv, repack=repack, progress=progress)


def mapped(program: Program, tensors: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The matrices that stay in the file's mapping if they are to, and those that are repacked all the same."""
    matrices = matrices_of(program, tensors)
    return [t for t in matrices if servable(t)], [t for t in matrices if not servable(t)]
