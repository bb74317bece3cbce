"""The file that a command is to write. Knows no command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerun.errors import UsageError

Force = Annotated[bool, typer.Option("--force", help="Replace OUT if it is there.")]


def refuse_existing(target: Path, force: bool, remedy: str = "give another name") -> None:
    """UsageError when something is there already that is not to be replaced."""
    if target.exists() and not force:
        raise UsageError(f"{str(target)!a} is there already; {remedy}, or --force to replace it")
