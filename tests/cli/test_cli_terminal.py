from __future__ import annotations

import io
import os
import pty
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from edgerun.cli import terminal
from edgerun.cli.terminal import AnswerText, status, transfer
from edgerun.errors import OutputError

Show = Callable[[], "Screen"]


class Screen:
    """A terminal of 80 columns in place of a stream; `text()` is what was written on it since the last time."""

    def __init__(self) -> None:
        import fcntl
        import termios

        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.stream = os.fdopen(slave, "w", encoding="utf-8")

    def text(self) -> str:
        self.stream.write("\0")
        self.stream.flush()
        data = b""
        while not data.endswith(b"\0"):
            data += os.read(self._master, 1 << 16)
        return data[:-1].decode().replace("\r\n", "\n")

    def close(self) -> None:
        self.stream.close()
        os.close(self._master)


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Screen]]:
    """Makes a terminal of stdout and stderr; to be called in the test, as pytest sets both when it begins."""
    screens: list[Screen] = []
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def start() -> Screen:
        screens.append(Screen())
        monkeypatch.setattr(sys, "stdout", screens[-1].stream)
        monkeypatch.setattr(sys, "stderr", screens[-1].stream)
        return screens[-1]

    yield start
    for screen in screens:
        screen.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(terminal, "perf_counter", lambda: now[0])
    return now


def test_an_answer_on_a_terminal_is_cleaned(show: Show) -> None:
    screen = show()
    writer = AnswerText()
    for piece in ("a\x1b", "[2J", "b\n", "\x9bc"):
        writer.write(piece)
    writer.end()
    assert screen.text() == "a\\x1b[2Jb\n\\x9bc\n"


def test_reasoning_is_dimmed_and_apart(show: Show) -> None:
    screen = show()
    writer = AnswerText()
    for piece, kind in (("Hm", "reasoning"), ("...\x1b[0m", "reasoning"), ("Blue.", "text"), ("\n", "text")):
        writer.write(piece, kind)
    writer.end()
    assert screen.text() == "\x1b[2mHm\x1b[22m\x1b[2m...\\x1b[0m\x1b[22m\n\nBlue.\n"


@pytest.mark.parametrize("think", ["hide", "off"])
def test_hidden_reasoning_leaves_nothing_on_the_screen(show: Show, think: str) -> None:
    screen = show()
    writer = AnswerText(think)
    for piece, kind in (("Hm", "reasoning"), ("...", "reasoning"), ("Blue.", "text")):
        writer.write(piece, kind)
    writer.end()
    assert screen.text() == "\r\x1b[2Kthinking ...\r\x1b[2KBlue.\n"


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_style_where_none_is_wanted(show: Show, monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    screen = show()
    AnswerText().write("Hm", "reasoning")
    assert screen.text() == "Hm"


def test_a_terminal_with_few_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(buffer := io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(terminal, "is_terminal", lambda s: True)
    monkeypatch.setattr(sys, "stdout", stream)
    AnswerText().write("é日")
    assert buffer.getvalue() == b"\xe9?"


def test_a_pipe_gets_utf8_whatever_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(buffer := io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", stream)
    writer = AnswerText()
    writer.write("日\r\n")
    writer.end()
    assert buffer.getvalue() == "日\r\n".encode()


def test_no_output_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OutputError, match="standard output is closed"):
        AnswerText()


def test_a_short_job_draws_nothing(show: Show, clock: list[float]) -> None:
    screen = show()
    with status("reading:") as advance:
        for done in range(11):
            advance(done, 10)
            clock[0] += 0.05
    assert screen.text() == ""


def test_a_long_job_says_how_long(show: Show, clock: list[float]) -> None:
    screen = show()
    with status("reading:") as advance:
        advance(512, 2048)   # 512 of them were there before
        clock[0] += 1
        advance(1024, 2048)
        assert screen.text() == "\r\x1b[2Kreading: 1024/2048, 2 s left"
        clock[0] += 0.05
        advance(1050, 2048)
        assert screen.text() == ""   # too soon
        clock[0] += 0.95
        advance(1536, 2048)
        assert screen.text() == "\r\x1b[2Kreading: 1536/2048, 1 s left"
        advance(2048, 2048)
        assert screen.text() == "\r\x1b[2K"
    assert screen.text() == ""


def test_a_line_goes_when_there_is_an_error(show: Show) -> None:
    screen = show()
    with suppress(KeyError), status("compiling\x1b[2J", after=0.0) as advance:
        advance(0, 10)
        raise KeyError
    assert screen.text() == "\r\x1b[2Kcompiling\\x1b[2J 0/10\r\x1b[2K"


def test_a_line_is_no_wider_than_the_terminal(show: Show) -> None:
    screen = show()
    with status("x" * 200, after=0.0) as advance:
        advance(0, 10)
        assert screen.text() == "\r\x1b[2K" + "x" * 79


def test_a_bar_is_drawn_and_gone(show: Show) -> None:
    screen = show()
    with transfer("model[bold]\x1b[2J") as advance:
        advance(0, 1_000_000)
        advance(500_000, 1_000_000)
    text = screen.text()
    assert "model[bold]\\x1b[2J" in text
    assert "500.0/" in text or "0.5/1.0 MB" in text
    assert text.rindex("\x1b[2K") > text.rindex("MB")   # the last thing is that the line is erased
    assert text.rstrip("\n").endswith("\x1b[2K") or "\x1b[?25h" in text.split("MB")[-1]


def test_nothing_is_drawn_without_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    for kind in (transfer, status):
        with kind("label") as advance:
            advance(0, 10)
            advance(5, 10)
            advance(7, None)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_drawn_when_not_wanted(show: Show) -> None:
    screen = show()
    with transfer("label", wanted=False) as advance, status("label", 0.0, wanted=False) as other:
        advance(0, 10)
        other(0, 10)
    assert screen.text() == ""


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "1 s"), (59.6, "60 s"), (150, "2 min 30 s")])
def test_time_left(seconds: float, text: str) -> None:
    assert terminal._time(seconds) == text
