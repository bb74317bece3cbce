"""What is drawn on a terminal: passing progress on stderr, and the answer on stdout. Knows nothing of models.

Progress is drawn only when stderr is a terminal, and is gone when it is done. Text from outside is cleaned before a
terminal gets it; into a pipe or a file it goes unchanged, there it is data.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from time import perf_counter
from typing import Any, TextIO

from edgerun.cli.clean import clean
from edgerun.errors import OutputError

Advance = Callable[[int, "int | None"], None]   # (done so far, total or None when it is not known)

_REDRAW = 0.1   # seconds between two drawings of a line
_ERASE, _DIM, _PLAIN = "\r\x1b[2K", "\x1b[2m", "\x1b[22m"


def is_terminal(stream: TextIO | None) -> bool:
    """Whether `stream` is open on a terminal."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:   # closed
        return False


def stdout() -> TextIO:
    """Standard output, ready for any text. OutputError when it is closed."""
    if sys.stdout is None or sys.stdout.closed:
        raise OutputError("the output could not be written: standard output is closed")
    if isinstance(sys.stdout, TextIOWrapper):
        if is_terminal(sys.stdout):
            sys.stdout.reconfigure(errors="replace")   # a terminal has a character set of its own
        else:
            sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    return sys.stdout


def styled(stream: TextIO | None) -> bool:
    """Whether `stream` shows text styles: a terminal that is not dumb, and NO_COLOR (no-color.org) is not set."""
    return is_terminal(stream) and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


class AnswerText:
    """An answer on stdout, flushed piece by piece. On a terminal it is cleaned, and reasoning is shown dimmed.

    Without a terminal only the answer itself is written, unchanged but for a newline at its end. think: `show` writes reasoning in
    any case; `hide` and `off` leave a passing line on stderr of it.
    """

    def __init__(self, think: str | None = None) -> None:
        self.stream = stdout()
        self._terminal, self._styled = is_terminal(self.stream), styled(self.stream)
        self._reasons = think == "show" or (think is None and self._terminal)
        self._folded = StatusLine(self._terminal)
        self._kind = ""
        self._last = ""

    def write(self, text: str, kind: str = "text") -> None:
        """Show a stretch of text of that kind, `text` or `reasoning`."""
        if not text:
            return
        if kind == "reasoning" and not self._reasons:
            self._folded.draw("thinking ...")
            return
        self._folded.erase()
        shown = clean(text) if self._terminal else text
        if kind != self._kind:
            self._switch(kind)
        self._last = shown[-1:]
        self.stream.write(f"{_DIM}{shown}{_PLAIN}" if self._styled and kind == "reasoning" else shown)
        self.stream.flush()

    def end(self, reply: object = None) -> None:
        """End the last line, so that what comes next begins on its own."""
        self._folded.erase()
        if self._last not in ("", "\n"):
            self.stream.write("\n")
            self.stream.flush()
        self._kind = self._last = ""

    def _switch(self, kind: str) -> None:
        if self._kind:
            self.stream.write("\n\n" if self._last != "\n" else "\n")   # reasoning and answer stand apart
        self._kind = kind


class StatusLine:
    """One line on stderr that is drawn over and over and leaves nothing behind; nothing at all without a terminal."""

    def __init__(self, wanted: bool = True) -> None:
        self._live = wanted and is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb"
        self._drawn = float("-inf")

    def draw(self, text: str) -> None:
        """Show `text` in place of what is there, at most ten times a second."""
        if self._live and perf_counter() - self._drawn >= _REDRAW:
            self._drawn = perf_counter()
            self._write(_ERASE + clean(text, keep_newlines=False)[: _width() - 1])

    def erase(self) -> None:
        """Leave an empty line."""
        if self._live and self._drawn > float("-inf"):
            self._drawn = float("-inf")
            self._write(_ERASE)

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):   # the terminal is gone: there is nobody to draw for
            self._live = False


@contextmanager
def status(label: str, after: float = 1.0, wanted: bool = True) -> Iterator[Advance]:
    """A line `label done/total, N s left` for work that takes longer than `after` seconds; call what is given as it goes on.

    The first call says where it begins. What is not known is left out.
    """
    line, begun, first = StatusLine(wanted), perf_counter(), None

    def advance(done: int, total: int | None = None) -> None:
        nonlocal begun, first
        if first is None:
            begun, first = perf_counter(), done
        seconds = perf_counter() - begun
        if total is not None and done >= total:
            line.erase()
        elif total is not None and done > first:
            left = seconds * (total - done) / (done - first)
            if seconds + left > after:
                line.draw(f"{label} {done}/{total}, {_time(left)} left")
        elif seconds >= after:
            line.draw(label if total is None else f"{label} {done}/{total}")

    try:
        yield advance
    finally:
        line.erase()


@contextmanager
def transfer(label: str, wanted: bool = True) -> Iterator[Advance]:
    """A progress bar for bytes that come or go: call what is given with (bytes so far, all bytes or None)."""
    bar: Any = None

    def advance(done: int, total: int | None = None) -> None:
        nonlocal bar
        if bar is None and wanted and is_terminal(sys.stderr):
            bar = _Bar(label, done, total)
        if bar is not None:
            bar.advance(done, total)

    try:
        yield advance
    finally:
        if bar is not None:
            bar.close()


class _Bar:
    """rich's progress bar, imported when the first one is drawn."""

    def __init__(self, label: str, done: int, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

        columns = TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(clean(label, keep_newlines=False), completed=done, total=total)
        self._progress.start()

    def advance(self, done: int, total: int | None) -> None:
        self._progress.update(self._task, completed=done, total=total)

    def close(self) -> None:
        with suppress(OSError):
            self._progress.stop()


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _time(seconds: float) -> str:
    whole = max(1, round(seconds))
    return f"{whole} s" if whole < 100 else f"{whole // 60} min {whole % 60:02d} s"
