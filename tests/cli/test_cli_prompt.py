from __future__ import annotations

import ctypes
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgerun.cli import prompt
from edgerun.cli.prompt import gather
from edgerun.errors import UsageError

Stdin = Callable[..., None]


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Standard input as a pipe that holds `data`; silent: its other end stays open."""
    monkeypatch.setattr(prompt, "WAIT", 0.05)
    ends: list[int] = []

    def give(data: bytes = b"", silent: bool = False) -> None:
        reader, writer = os.pipe()
        os.write(writer, data)
        if silent:
            ends.append(writer)
        else:
            os.close(writer)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(os.fdopen(reader, "rb")))

    yield give
    for end in ends:
        os.close(end)


@pytest.mark.parametrize(("option", "words", "piped", "expected"), [
    ("a", [], b"", "a"),
    (None, ["two", "words"], b"", "two words"),
    ("a", ["b"], b"c\n", "a\nb\nc"),
    (None, [], b"only piped\n", "only piped"),
    (None, ["-"], b"only piped\n\n", "only piped\n"),
    ("-", [], b"piped", "piped"),
    (None, ["Say:", "-"], b"piped\r\n", "Say:\npiped"),
    ("a", [], "\ufeffbom".encode(), "a\nbom"),
])  # fmt: skip
def test_parts_are_put_together(stdin: Stdin, option: str | None, words: list[str], piped: bytes, expected: str) -> None:
    stdin(piped)
    assert gather(option, words, None) == expected


def test_a_file_is_a_part(stdin: Stdin, tmp_path: Path) -> None:
    stdin()
    (tmp_path / "a.txt").write_bytes(b"text\r\n")
    assert gather("Read:", [], str(tmp_path / "a.txt")) == "Read:\ntext"


def test_dash_as_file_is_standard_input(stdin: Stdin) -> None:
    stdin(b"piped")
    assert gather("Read:", [], "-") == "Read:\npiped"


@pytest.mark.parametrize("replacement", [None, "closed", "null"])
def test_no_standard_input_adds_nothing(monkeypatch: pytest.MonkeyPatch, replacement: str | None) -> None:
    stream = os.fdopen(os.open(os.devnull, os.O_RDONLY)) if replacement else None
    if replacement == "closed" and stream:
        stream.close()
    monkeypatch.setattr(sys, "stdin", stream)
    assert gather("a", [], None) == "a"


def test_a_terminal_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    os.write(master, b"typed\n\x04")
    with os.fdopen(slave) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert gather("a", [], None) == "a"
        assert gather("a", ["-"], None) == "a\ntyped"
    os.close(master)


def test_a_silent_pipe_is_left_out_with_a_warning(stdin: Stdin, capsys: pytest.CaptureFixture[str]) -> None:
    stdin(silent=True)
    assert gather("a", [], None) == "a"
    assert capsys.readouterr().err == (
        "edgerun: warning: nothing came on standard input for 0.05 s, so the prompt is used without it; give - to wait for it, or </dev/null\n"
    )


def test_a_file_as_standard_input_is_read_from_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("one\ntwo\n")
    with open(tmp_path / "lines") as stream:
        assert stream.readline() == "one\n"
        stream.seek(4)
        monkeypatch.setattr(sys, "stdin", stream)
        assert gather("a", [], None) == "a\ntwo"


@pytest.mark.parametrize(("data", "message"), [
    (b"", "there is no prompt"),
    (b"\n", "there is no prompt"),
    (b"GGUF\x03\x00\x00", "standard input is not text: byte 5 is zero"),
])  # fmt: skip
def test_what_is_no_prompt(stdin: Stdin, data: bytes, message: str) -> None:
    stdin(data)
    with pytest.raises(UsageError, match=message):
        gather(None, [], None)


def test_too_long(stdin: Stdin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt, "LARGEST", 1 << 20)
    (tmp_path / "long").write_bytes(b"a" * ((1 << 20) + 1))
    with pytest.raises(UsageError, match="is longer than 1 MiB"):
        gather(None, [], str(tmp_path / "long"))


@pytest.mark.parametrize("name", ["missing", ".", "evil\x1b[2J"])
def test_files_that_cannot_be_read(stdin: Stdin, tmp_path: Path, name: str) -> None:
    stdin()
    with pytest.raises(UsageError, match=r"^prompt file '[ -~]+' cannot be read: [A-Z][ a-z]+$"):
        gather(None, [], str(tmp_path / name))


def test_bytes_that_are_not_utf8(stdin: Stdin, capsys: pytest.CaptureFixture[str]) -> None:
    stdin(b"caf\xe9")
    assert gather(os.fsdecode(b"caf\xe9"), [], None) == "caf\ufffd\ncaf\ufffd"
    assert capsys.readouterr().err == "edgerun: warning: standard input is not UTF-8 at byte 3; what cannot be read is replaced by U+FFFD\n"


@pytest.mark.parametrize(("answers", "speaks"), [([(1, 0), (1, 0), (1, 5)], True), ([(0, 0)], True), ([(1, 0)] * 1000, False)], ids=["in time", "no pipe", "silent"])
def test_a_pipe_of_windows(monkeypatch: pytest.MonkeyPatch, answers: list[tuple[int, int]], speaks: bool) -> None:
    left = iter(answers)

    def peek(handle: Any, buffer: None, size: int, read: None, waiting: Any, rest: None) -> int:
        found, count = next(left)
        waiting._obj.value = count
        return found

    monkeypatch.setattr(prompt, "WAIT", 0.1)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(get_osfhandle=lambda descriptor: 7))
    monkeypatch.setattr(ctypes, "WinDLL", lambda name: SimpleNamespace(PeekNamedPipe=peek), raising=False)
    assert prompt._pipe_speaks(0) is speaks
