"""The file that a command is to write. Knows no command."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from edgerun.cli.clean import clean
from edgerun.cli.exit import warn
from edgerun.cli.terminal import is_terminal
from edgerun.errors import OutputError, UsageError

Force = Annotated[bool, typer.Option("--force", help="Replace OUT if it is there.")]


@contextmanager
def resumable(target: Path) -> Iterator[None]:
    """Say what is left of the file when its making is interrupted."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        left = sorted(target.parent.glob(f"{glob.escape(target.name.removesuffix('.gguf'))}*.gguf.part"))
        if left:
            if is_terminal(sys.stderr):
                sys.stderr.write("\n")   # the line with ^C
            warn(f"stopped; what is done is in {clean(str(left[0]), keep_newlines=False)}: the same command continues it, or remove it")
        raise


def refuse_existing(target: Path, force: bool, remedy: str = "give another name") -> None:
    """UsageError when something is there already that is not to be replaced."""
    if target.exists() and not force:
        raise UsageError(f"{str(target)!a} is there already; {remedy}, or --force to replace it")


def refuse_unwritable(target: Path) -> None:
    """OutputError when nothing can be written there, for commands that work long before they write."""
    if not (target.parent.is_dir() and os.access(target.parent, os.W_OK)):
        raise OutputError(f"{str(target)!a} cannot be written: there is no such folder, or it takes no files")
