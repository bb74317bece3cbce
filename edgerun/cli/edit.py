"""`edgerun edit`: a copy of a model file with other metadata. Knows how the command is typed; the rest is in `quant.edit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerun.cli import options as o
from edgerun.cli.clean import clean
from edgerun.cli.pull import Ref
from edgerun.cli.target import Force, refuse_existing
from edgerun.cli.terminal import status, stdout
from edgerun.errors import UsageError

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", show_default=False, help="Give a key a value; KEY=TYPE:VALUE for a new one of a certain type, as u32:7; may be repeated."),
]
Remove = Annotated[list[str] | None, typer.Option("--remove", metavar="KEY", show_default=False, help="Leave a key out; may be repeated.")]
Out = Annotated[str | None, typer.Argument(metavar="[OUT]", show_default=False, help="The copy; default: beside the model, with -edited in its name.")]


def command(ref: Ref, out: Out = None, set: Set = None, remove: Remove = None, force: Force = False, quiet: o.Quiet = False) -> None:
    """Write a copy of a model with other metadata.

    A key that is there keeps its type; lists are written as JSON. The model itself is never changed, and the copy appears when it is whole.
    """
    from edgerun.gguf import open_gguf
    from edgerun.hub import resolve
    from quant.edit import Change, edit

    if not set and not remove:
        raise UsageError("nothing is to be changed; give --set KEY=VALUE or --remove KEY")
    path = resolve(ref, download=False)
    target = Path(out) if out else path.with_name(f"{path.stem}-edited.gguf")
    refuse_existing(target, force)
    with open_gguf(path) as file, status("writing:", wanted=not quiet) as advance:
        changes = [Change.parse(text, file.metadata) for text in set or ()]
        edit(file, target, changes, remove or (), advance)
    print(f"wrote {clean(str(target), keep_newlines=False)}", file=stdout())
