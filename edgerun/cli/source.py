"""What a command makes a model file of: a model file, a checkpoint folder, a checkpoint of the hub. Knows no command."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgerun.cli.clean import clean
from edgerun.cli.exit import warn
from edgerun.cli.terminal import is_terminal

if TYPE_CHECKING:
    from edgerun.gguf import GGUF
    from quant.convert import Plan


def checkpoint_folder(ref: str, quiet: bool) -> tuple[Path, Path]:
    """The folder of a checkpoint, fetched where `ref` names a repository, and the path that a new file is to have but for its type."""
    from edgerun.hub.snapshot import repository

    local = Path(os.path.expanduser(ref))
    repo = None if local.exists() else repository(ref)
    return (_fetched(repo, quiet), Path(repo.partition("/")[2])) if repo else (local, local.resolve())


def opened(ref: str, pre: str | None, quiet: bool) -> tuple[GGUF, Path]:
    """The open model, and the path of the model file that it is or would be. pre: as for `open_checkpoint`."""
    from edgerun.errors import ModelError
    from edgerun.gguf import open_gguf
    from edgerun.hub import resolve
    from edgerun.hub.snapshot import repository

    if not Path(os.path.expanduser(ref)).is_dir():
        try:
            path = resolve(ref, download=False)
        except ModelError:
            if not repository(ref):
                raise
        else:
            return open_gguf(path), path
    from quant.convert.view import open_checkpoint

    folder, name = checkpoint_folder(ref, quiet)
    view = open_checkpoint(folder, pre)
    tell_left_out(view.plan, quiet)
    return view, name.with_name(f"{name.name}.gguf")


def tell_left_out(plan: Plan, quiet: bool) -> None:
    """Warn of tensors that no file of the text model holds."""
    if plan.left_out and not quiet:
        few = ", ".join(clean(name, keep_newlines=False) for name in plan.left_out[:3]) + (", ..." if len(plan.left_out) > 3 else "")
        warn(f"{len(plan.left_out)} tensors have no part in the {'adapter' if plan.kind == 'adapter' else 'text model'}'s file: {few}")


def _fetched(repo: str, quiet: bool) -> Path:
    from edgerun.cli.pull import Transfers
    from edgerun.hub.snapshot import checkpoint
    from edgerun.hub.source import Wish

    def note(text: str) -> None:
        if not quiet and is_terminal(sys.stderr):
            warn(text)

    with Transfers(not quiet) as transfers:
        return checkpoint(repo, Wish(transfers, note))
