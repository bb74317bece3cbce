"""Loading a model for a command, with what is going on shown on stderr. Knows nothing of what the model is for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from edgerun.cli.exit import warn
from edgerun.cli.terminal import Advance, status, transfer

if TYPE_CHECKING:
    from edgerun.llm import LLM

# What is said while a phase runs, and for how many seconds it has to run to be worth a line.
_LINES = {
    "kernels": ("compiling kernels, once for this machine:", 0.0),
    "weights": ("reading weights:", 1.0),
    "device": ("testing the GPU, once for this machine", 0.0),
}


@contextmanager
def loaded(name: str, context: int | None = None, threads: int | None = None, quiet: bool = False, device: str = "cpu", **more: Any) -> Iterator[LLM]:
    """The model `name`, fetched if it is not here. context: 0 or None for its own. quiet: show nothing. more: as for `edgerun.load`.

    device: those commands that have an option for it say where; the others look inside of a model, which only the CPU's backend allows.
    """
    # NumPy's linear algebra is not used, but its threads would spin through the start: a tenth of a second of CPU.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import edgerun

    with phases(name, quiet) as progress:
        llm = edgerun.load(name, context=context or None, threads=threads, device=device, progress=progress, **more)
    with llm:
        yield llm


@contextmanager
def phases(name: str, quiet: bool = False) -> Iterator[Callable[[str, int, int | None], None]]:
    """What to call while a model is fetched, compiled or read: a line on a terminal for each."""
    with ExitStack() as drawn:
        lines: dict[str, Advance] = {}

        def progress(what: str, done: int, of: int | None = None) -> None:
            if what not in lines:
                lines[what] = drawn.enter_context(transfer(name, not quiet) if what == "download" else status(*_LINES[what], wanted=not quiet))
            lines[what](done, of)

        yield progress


def measure_bandwidth(llm: LLM, quiet: bool = False) -> None:
    """Have the figures of `llm` say what this machine reads from memory; a second or more, unless it was measured within a day."""
    with status("measuring this machine", 0.3, wanted=not quiet) as advance:
        advance(0, None)
        llm.measure_bandwidth()


class Warnings:
    """The warnings of a model, each shown once."""

    def __init__(self, llm: LLM, quiet: bool) -> None:
        self._llm, self._quiet, self._shown = llm, quiet, 0

    def show(self) -> None:
        """Print those that have come since the last time."""
        new = self._llm.warnings[self._shown :]
        self._shown += len(new)
        for line in new if not self._quiet else ():
            warn(f"warning: {line}")


def default_model() -> str:
    """The name that stands for a model when none is given."""
    from edgerun.hub.catalogue import Catalogue

    return Catalogue.load().default
