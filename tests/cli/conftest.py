from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_llm import FakeLLM

import edgerun
from edgerun.cli.main import main

FAKE = Path(__file__).parent / "fake_llm.py"


@dataclass
class Result:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """`main` takes over signals, which are pytest's here."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def llm(monkeypatch: pytest.MonkeyPatch) -> FakeLLM:
    """The model that `run` and `chat` load."""
    fake = FakeLLM()
    monkeypatch.setattr(edgerun, "load", fake.load, raising=False)
    return fake


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`edgerun ARGUMENTS` in this process; standard input is `stdin`."""

    def run(*arguments: str, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", _stream(stdin))
        monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)   # which `main` replaces
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main(arguments)
        out, err = capfd.readouterr()
        assert isinstance(left.value.code, int)
        return Result(left.value.code, out, err)

    return run


@pytest.fixture
def spawn(home: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """`edgerun ARGUMENTS` with a fake model in a process of its own; fake: see `fake_llm.main`."""

    def start(*arguments: str, fake: dict[str, Any] | None = None, environment: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
        env = os.environ | {"FAKE": json.dumps(fake or {}), "PYTHONPATH": str(Path(edgerun.__file__).parents[1])} | (environment or {})
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        return subprocess.Popen([sys.executable, str(FAKE), *arguments], env=env, **streams)

    return start


def _stream(data: bytes) -> io.TextIOWrapper:
    """A pipe that holds `data` and is closed at its other end."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as end:
        end.write(data)
    return io.TextIOWrapper(os.fdopen(reader, "rb"), encoding="utf-8")
