"""Machine code for the searches of block formats, where there is enough to encode that fetching or making it pays. Knows no type.

Without it the same bytes are made in NumPy, which takes about ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edgerun.formats.lent import lending

Progress = Callable[[str, int, int], None]   # (what, done, of), as that of `edgerun.load`

_FETCHED = 1 << 22    # weights from which on it pays to link what is kept: 0.06 s
_COMPILED = 1 << 26   # weights from which on it pays to compile what is not: about 3 s on two cores, once on a machine
ROUNDING = 16   # what NumPy rounds while it searches for one weight


@contextmanager
def encoders(weights: int, progress: Progress | None = None) -> Iterator[None]:
    """Encode with machine code inside, where `weights` are so many that it pays.

    UsageError where EDGERUN_ISA names what this CPU cannot run; ResourceError where there is no memory to compile in.
    """
    if weights < _FETCHED:
        yield
        return
    from edgerun.backends.cpu import isa as isas
    from edgerun.backends.cpu.encoder import KERNELS, Encoder
    from edgerun.backends.cpu.native import Linked
    from edgerun.backends.cpu.store import KernelStore

    isa = isas.choose()
    store = KernelStore(isa)
    if weights < _COMPILED and store.missing(KERNELS):
        yield
        return
    objects = store.load(KERNELS, (lambda done, of: progress("kernels", done, of)) if progress else None)
    with lending(Encoder(Linked(objects, isa))):
        yield
