"""`edgerun rm`: models off this machine. Knows how the command is typed; the rest is in `edgerun.hub`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgerun.cli.clean import clean
from edgerun.cli.complete import models
from edgerun.cli.table import size
from edgerun.cli.terminal import stdout
from edgerun.errors import UsageError

if TYPE_CHECKING:
    from edgerun.hub.store import Installed, Store

Refs = Annotated[list[str], typer.Argument(metavar="REF...", autocompletion=models, help="Models as `edgerun list` names them.")]


def command(refs: Refs) -> None:
    """Remove models from this machine.

    Only what was fetched is removed, from edgerun's folder and from the hub's cache, which other programs share.
    """
    from edgerun.hub.store import Store

    store = Store()
    found = [model for ref in refs for model in _found(ref, store)]   # all of them before any is removed
    for model in dict.fromkeys(found):
        freed = store.remove(model)
        print(f"removed {clean(str(model.path), keep_newlines=False)} ({size(freed)} freed)", file=stdout())


def _found(ref: str, store: Store) -> list[Installed]:
    """Every copy of the model that is here. ModelError when there is none, UsageError for a file that was not fetched."""
    from edgerun.hub.resolver import present

    paths = {path.absolute() for path in present(ref)}
    found = [model for model in store.installed() if model.path.absolute() in paths]
    if not found:
        raise UsageError(f"{ref!a} was not fetched by edgerun or from the hub, so it is not removed; delete the file yourself")
    return found
