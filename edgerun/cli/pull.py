"""`edgerun pull`: a model onto this machine. Knows how the command is typed; the rest is in `edgerun.hub`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from edgerun.cli import options as o
from edgerun.cli.complete import models
from edgerun.cli.exit import warn
from edgerun.cli.terminal import Advance, is_terminal, stdout, transfer

Ref = Annotated[str, typer.Argument(metavar="REF", autocompletion=models, help="A catalogue name, hf:user/repo[:quant or file], a URL or a path.")]
Force = Annotated[bool, typer.Option("--force", help="Fetch it even if it does not fit into the memory of this machine.")]


def command(ref: Ref, force: Force = False, quiet: o.Quiet = False) -> None:
    """Fetch a model.

    Prints where the file is. What is there already is not fetched again, and what was interrupted is continued. Files of the
    hub go into the hub's own cache (HF_HOME), others below EDGERUN_HOME.
    """
    from edgerun.hub import resolve

    def note(text: str) -> None:
        if not quiet and is_terminal(sys.stderr):
            warn(text)

    with Transfers(not quiet) as transfers:
        path = resolve(ref, progress=transfers, note=note, force=force)
    print(path, file=stdout())


class Transfers:
    """Draws one progress bar after the other, a new one for each file."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._name: str | None = None
        self._bar = transfer("", wanted)
        self._advance: Advance = self._bar.__enter__()

    def __call__(self, done: int, total: int | None, name: str) -> None:
        """`done` of `total` bytes of file `name` are there."""
        if name != self._name:
            self._bar.__exit__(None, None, None)
            self._name, self._bar = name, transfer(name, self._wanted)
            self._advance = self._bar.__enter__()
        self._advance(done, total)

    def __enter__(self) -> Transfers:
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.__exit__(None, None, None)
