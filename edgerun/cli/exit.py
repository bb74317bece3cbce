"""How `edgerun` ends: every error becomes one line on stderr and an exit code, here and nowhere else. Knows no command.

    0 done                                  5 a network or download source failed
    1 a bug in edgerun                      6 not enough memory or disk
    2 wrong usage                           7 the GPU cannot be used, or failed
    3 the model file cannot be used         130 Ctrl-C
    4 the output could not be written       141 the reader of our output went away
                                            128 + n ended by signal n
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from edgerun import config
from edgerun.cli.clean import clean
from edgerun.errors import EdgerunError, OutputError, ResourceError

INTERRUPTED = 130
PIPE_CLOSED = 141
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def guard(action: Callable[[], None]) -> int:
    """Do `action` and flush what it printed; the exit code to leave with. Only SIGKILL and its like get past it."""
    _end_on(*(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)))
    try:
        try:
            action()
            code = 0
        except BaseException as error:
            code = _code(error)
        return _flushed(code)
    except KeyboardInterrupt:   # while the end was being made
        return INTERRUPTED


def warn(message: str) -> None:
    """Write one line on stderr; control characters in it are made visible. A stderr that cannot be written is no error."""
    with suppress(OSError, AttributeError, ValueError):
        sys.stderr.write(f"edgerun: {clean(message, keep_newlines=False)}\n")
        sys.stderr.flush()


def _code(error: BaseException) -> int:
    """The exit code for `error`, after saying what there is to say."""
    if isinstance(error, KeyboardInterrupt):
        return _interrupted()
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    if isinstance(error, BrokenPipeError):
        return PIPE_CLOSED
    if isinstance(error, OSError) and error.filename is None and error.errno in _CANNOT_WRITE:
        error = _unwritten(error)   # an error of a file names it, and others are told by who meets them: this was stdout
    if isinstance(error, MemoryError):
        error = ResourceError("not enough memory for this; try a smaller context (-c) or a smaller model")
    if isinstance(error, EdgerunError):
        warn(str(error))
        return error.exit_code
    return _parser_code(error)


def _parser_code(error: BaseException) -> int:
    """The exit code for what the parser of options raises; anything else is a bug.

    click, or the copy of it inside typer, marks a usage error by these two attributes.
    """
    import typer

    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, typer.Abort):
        return _interrupted()
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context else ""
        warn(" ".join(error.format_message().split()).rstrip(".") + hint)
        return int(error.exit_code)
    return _bug(error)


def _bug(error: BaseException) -> int:
    if config.debug():
        import traceback

        traceback.print_exception(error)
    else:
        warn(f"bug: {type(error).__name__}: {error}. Please report it, with what is shown when EDGERUN_DEBUG=1 is set".replace("\n", " "))
    return 1


def _interrupted() -> int:
    """Ctrl-C: finish the line that the terminal wrote ^C on. A second one does not wait for anything."""
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    with suppress(OSError, AttributeError, ValueError):
        if sys.stderr.isatty():
            sys.stderr.write("\n")
            sys.stderr.flush()
    return INTERRUPTED


def _end_on(*signals: signal.Signals) -> None:
    """Let these signals unwind the program, so that temporary files go and a terminal gets its settings back.

    One that is ignored (nohup) stays ignored; the second one kills.
    """

    def leave(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise SystemExit(128 + number)

    for number in signals:
        with suppress(ValueError):   # not in the main thread
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, leave)


def _flushed(code: int) -> int:
    """Write out what is left. When that fails, a success becomes the code of the failure."""
    cause = _flush(sys.stdout)
    if cause and not code:
        code = PIPE_CLOSED if isinstance(cause, BrokenPipeError) else OutputError.exit_code
        if code != PIPE_CLOSED:
            warn(str(_unwritten(cause)))
    _flush(sys.stderr)
    return code


def _flush(stream: TextIO | None) -> OSError | None:
    """Why `stream` cannot be flushed. It is then cut off, or the interpreter would try and complain again at its end."""
    try:
        if stream is not None:
            stream.flush()
    except OSError as error:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())   # type: ignore[union-attr]
        return error
    except ValueError:   # closed
        pass
    return None


def _unwritten(cause: OSError) -> OutputError:
    return OutputError(f"the output could not be written: {cause.strerror or cause}")
