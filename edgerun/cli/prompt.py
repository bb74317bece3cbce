"""The prompt of `edgerun run`, put together from its options, a file and standard input. Knows nothing of models.

Its parts, each on a new line: -p, the words of the command line (joined by spaces), the file of -f, standard input.
Standard input is a part when it is not a terminal, or when - stands in its place:

    closed, /dev/null, an empty file   adds nothing
    a file, a pipe, a socket           is read to its end
    a pipe that stays silent           is waited for WAIT seconds if there is a prompt without it, and then left out with a
                                       warning: a program that inherits an open pipe must not hang; - waits as long as it takes
    a terminal                         is read only for -, until Ctrl-D

One newline at the end of a file or of standard input is dropped. Bytes that are not UTF-8 become U+FFFD, with a warning.
"""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Sequence
from typing import BinaryIO

from edgerun.cli.exit import warn
from edgerun.errors import UsageError

WAIT = 5.0          # seconds
LARGEST = 64 << 20  # bytes; no context holds nearly as much
STDIN = "-"


def gather(option: str | None, words: Sequence[str], file: str | None) -> str:
    """The prompt. UsageError when there is none, or when a part of it cannot be read or is no text."""
    explicit = STDIN in (option, file, *words)
    parts = [option] if option is not None and option != STDIN else []
    if typed := [word for word in words if word != STDIN]:
        parts.append(" ".join(typed))
    parts = [argument(part) for part in parts]
    if file is not None and file != STDIN:
        parts.append(read_file(file, "prompt file"))
    if explicit or not _is_terminal():
        parts.append(_read_stdin(patient=explicit or not any(parts)))
    prompt = "\n".join(part for part in parts if part)
    if not prompt:
        raise UsageError('there is no prompt; give one as in: edgerun run "Why is the sky blue?", pipe one in, or use edgerun chat')
    return prompt


def text_of(data: bytes, where: str) -> str:
    """`data` as text. UsageError when it is too long or not text; a warning when some bytes are not UTF-8."""
    if len(data) > LARGEST:
        raise UsageError(f"{where} is longer than {LARGEST >> 20} MiB, which no context holds; give a part of it")
    if (zero := data.find(0)) >= 0:
        raise UsageError(f"{where} is not text: byte {zero} is zero")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        warn(f"warning: {where} is not UTF-8 at byte {error.start}; what cannot be read is replaced by U+FFFD")
        text = data.decode("utf-8-sig", errors="replace")
    return text.removesuffix("\n").removesuffix("\r")


def argument(text: str) -> str:
    """An argument of the command line, in which Python marks undecodable bytes by surrogates."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def read_file(path: str, what: str) -> str:
    """The text of a file, of standard input for -. UsageError, which calls it `what`, when it cannot be read or is no text."""
    if path == STDIN:
        return _read_stdin(patient=True)
    where = f"{what} {path!a}"
    try:
        with open(path, "rb") as file:
            return text_of(file.read(LARGEST + 1), where)
    except OSError as error:
        raise UsageError(f"{where} cannot be read: {error.strerror}") from error


def _read_stdin(patient: bool) -> str:
    """What standard input holds; nothing when it is closed, or stays silent for WAIT seconds and we are not patient."""
    if sys.stdin is None or sys.stdin.closed:
        return ""
    stream = sys.stdin.buffer
    try:
        if not patient and not _speaks(stream):
            warn(f"warning: nothing came on standard input for {WAIT:g} s, so the prompt is used without it; give - to wait for it, or </dev/null")
            return ""
        return text_of(stream.read(LARGEST + 1), "standard input")
    except OSError as error:
        raise UsageError(f"standard input cannot be read: {error.strerror}") from error


def _speaks(stream: BinaryIO) -> bool:
    """Whether there is something to read within WAIT seconds; the end counts as something."""
    descriptor = stream.fileno()
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return True
    if os.name != "posix":   # there select knows nothing but sockets
        return _pipe_speaks(descriptor)
    return bool(select.select([descriptor], [], [], WAIT)[0])


def _pipe_speaks(descriptor: int) -> bool:
    """The same on Windows: what PeekNamedPipe refuses has ended, or is no pipe."""
    import ctypes
    import msvcrt
    import time

    handle = ctypes.c_void_p(msvcrt.get_osfhandle(descriptor))   # type: ignore[attr-defined,unused-ignore]
    peek = ctypes.WinDLL("kernel32").PeekNamedPipe   # type: ignore[attr-defined,unused-ignore]
    waiting, end = ctypes.c_uint32(), time.monotonic() + WAIT
    while peek(handle, None, 0, None, ctypes.byref(waiting), None) and not waiting.value:
        if time.monotonic() >= end:
            return False
        time.sleep(0.02)
    return True


def _is_terminal() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
