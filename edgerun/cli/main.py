"""The `edgerun` command: hands what was typed to the one command it names. Knows no option, no model, and prints no error.

All else is imported late, so that a Ctrl-C in the first moments is no traceback.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_OBJECTS = 50_000   # new ones between two searches for garbage
_SOON = 0.001       # s


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command in `argv` (default: the arguments of this process) and leave the process with its exit code."""
    try:
        sys.unraisablehook = _lost
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


def _lost(lost: UnraisableHookArgs) -> None:
    """A Ctrl-C that came while Python cleared something away (every import does) cannot be raised there: it comes again, soon after."""
    import signal

    if lost.exc_type is KeyboardInterrupt and hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, _SOON)
    else:
        sys.__unraisablehook__(lost)
