"""The `edgerun` command: hands what was typed to the one command it names. Knows no option, no model, and prints no error.

All else is imported late, so that a Ctrl-C in the first moments is no traceback.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

_OBJECTS = 50_000   # new ones between two searches for garbage


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command in `argv` (default: the arguments of this process) and leave the process with its exit code."""
    try:
        gc.set_threshold(_OBJECTS)   # a start makes many objects and no garbage: looking for some only delays the first token
        from edgerun.cli import exit

        arguments = list(sys.argv[1:] if argv is None else argv)
        code = exit.guard(lambda: dispatch(arguments))
    except KeyboardInterrupt:   # before there was anybody to take care of it
        code = 130
    gc.freeze()   # and what is left at the end need not be looked through
    sys.exit(code)


def dispatch(arguments: list[str]) -> None:
    """Do what `arguments` say; errors come out as they are."""
    from edgerun.cli import complete
    from edgerun.cli.commands import PROGRAM
    from edgerun.cli.group import build

    group = build()
    if complete.asked():
        complete.offer(lambda: group.main(arguments, prog_name=PROGRAM))
    else:
        with group.make_context(PROGRAM, arguments or ["--help"]) as context:
            group.invoke(context)
