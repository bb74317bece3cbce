from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from fake_llm import FakeLLM

import edgerun
from edgerun.cli.exit import guard
from edgerun.errors import (
    EdgerunError,
    GGUFError,
    ModelError,
    OutputError,
    ResourceError,
    SourceError,
    TemplateError,
    TokenizerError,
    Unsupported,
    UsageError,
)  # fmt: skip

Spawn = Callable[..., "subprocess.Popen[bytes]"]
LONG = ["All work and no play. "] * 5000
needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")


def fail(error: BaseException) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


def run_code(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Python code that imports edgerun, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(edgerun.__file__))}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


@pytest.mark.parametrize(("error", "code"), [
    (UsageError, 2), (ModelError, 3), (GGUFError, 3), (Unsupported, 3), (TokenizerError, 3), (TemplateError, 3), (OutputError, 4), (SourceError, 5),
    (ResourceError, 6),
])  # fmt: skip
def test_errors_are_one_line_and_a_code(error: type[EdgerunError], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert guard(fail(error("what\nwhere\x1b[2J"))) == code
    assert capsys.readouterr() == ("", "edgerun: what\\nwhere\\x1b[2J\n")


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (BrokenPipeError(), 141), (SystemExit(), 0), (SystemExit(7), 7)])
def test_quiet_ends(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert guard(fail(error)) == code
    assert capsys.readouterr() == ("", "")


def test_success_is_0() -> None:
    assert guard(lambda: None) == 0


def test_no_memory_left_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert guard(fail(MemoryError())) == 6
    assert capsys.readouterr().err == "edgerun: not enough memory for this; try a smaller context (-c) or a smaller model\n"


def test_a_bug_asks_for_a_report(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert guard(fail(KeyError("x\ny"))) == 1
    assert capsys.readouterr().err == "edgerun: bug: KeyError: 'x\\ny'. Please report it, with what is shown when EDGERUN_DEBUG=1 is set\n"
    assert guard(fail(FileNotFoundError(2, "No such file", "x"))) == 1
    monkeypatch.setenv("EDGERUN_DEBUG", "1")
    capsys.readouterr()
    assert guard(fail(KeyError("x"))) == 1
    assert capsys.readouterr().err.startswith("Traceback")


def test_a_bug_in_a_command(cli: Callable[..., Any], llm: FakeLLM) -> None:
    llm.answers = [[ZeroDivisionError("division by zero")]]
    assert cli("run", "Hi").code == 1


def test_a_reader_that_goes_away(spawn: Spawn) -> None:
    process = spawn("run", "Hi", fake={"answer": LONG})
    assert process.stdout
    assert process.stdout.read(20) == b"All work and no play"
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read() == b""
    assert process.wait(10) == 141


def test_a_reader_that_goes_away_before_the_only_write(spawn: Spawn) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = spawn("--help", stdout=writer)
    os.close(writer)
    assert process.communicate(timeout=10)[1] == b""
    assert process.returncode == 141


@needs_full
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [("run", "Hi"), ("run", "-o", "json", "Hi"), ("--help",), ("--version",)])
def test_output_that_cannot_be_written(spawn: Spawn, arguments: tuple[str, ...], unbuffered: str) -> None:
    with open("/dev/full", "wb") as full:
        process = spawn(*arguments, fake={"answer": LONG}, stdout=full, environment={"PYTHONUNBUFFERED": unbuffered})
        assert process.communicate(timeout=10)[1] == b"edgerun: the output could not be written: No space left on device\n"
    assert process.returncode == 4


@needs_full
def test_messages_that_cannot_be_written_change_nothing(spawn: Spawn) -> None:
    with open("/dev/full", "wb") as full:
        process = spawn("run", "--stop", stderr=full)
        assert process.wait(10) == 2
        process = spawn("run", "Hi", stderr=full)
        assert process.communicate(timeout=10)[0] == b"The sky is blue.\n"
        assert process.returncode == 0


def test_closed_output(spawn: Spawn) -> None:
    process = spawn("run", "Hi", stdout=None, preexec_fn=lambda: os.close(1))
    assert process.communicate(timeout=10)[1] == b"edgerun: the output could not be written: standard output is closed\n"
    assert process.returncode == 4


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("slow", [0.02, 60])
def test_signals_end_at_once(spawn: Spawn, number: signal.Signals, code: int, slow: float) -> None:
    """While it answers, and while it is busy before the first piece."""
    process = spawn("run", "Hi", fake={"answer": LONG, "slow": slow})
    assert process.stdout
    if slow < 1:
        assert process.stdout.read(1) == b"A"
    else:
        time.sleep(0.7)
    begun = time.monotonic()
    process.send_signal(number)
    assert process.communicate(timeout=10)[1] == b""
    assert process.returncode == code
    assert time.monotonic() - begun < 0.3


def test_nohup_stays_in_force(spawn: Spawn) -> None:
    process = spawn("run", "Hi", fake={"slow": 0.1}, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    time.sleep(0.3)
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=10)[0] == b"The sky is blue.\n"
    assert process.returncode == 0


def test_interrupt_while_importing(spawn: Spawn) -> None:
    """Whenever it comes, once Python itself is up: no traceback."""
    code = (
        "import os, signal, sys, threading\n"
        "from edgerun.cli.main import main\n"
        "threading.Timer(float(sys.argv.pop(1)), os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "main()\n"
    )
    for delay in ("0.005", "0.02", "0.05"):
        process = run_code(code, delay, "run", "-")
        assert process.stderr
        assert process.wait(10) == 130
        assert process.stderr.read() == b""


def test_interrupt_where_nothing_can_be_raised() -> None:
    """Python drops what is raised while it clears an object away, and imports clear away their locks."""
    code = (
        "import signal, time\n"
        "from edgerun.cli import main\n"
        "class Cleared:\n"
        "    def __del__(self):\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "def dispatch(arguments):\n"
        "    Cleared()\n"
        "    time.sleep(20)\n"
        "main.dispatch = dispatch\n"
        "main.main([])\n"
    )
    process = run_code(code)
    assert process.communicate(timeout=10)[1] == b""
    assert process.returncode == 130


def test_a_system_without_hangups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "SIGHUP")
    assert guard(lambda: None) == 0
