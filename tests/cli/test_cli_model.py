"""The command line with a real model, and with files that are none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgerun
from edgerun.gguf.writer import GGUFWriter

Edgerun = Callable[..., "subprocess.Popen[bytes]"]
ENVIRONMENT = {"PYTHONPATH": str(Path(edgerun.__file__).parents[1])}


@pytest.fixture
def compiled(home: Path) -> dict[str, str]:
    """The environment of a process that keeps its Python compiled."""
    return os.environ | ENVIRONMENT | {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(home / "python")}


@pytest.fixture
def start(smollm2: Path, compiled: dict[str, str]) -> Edgerun:
    """`edgerun run -m SMOLLM2 ARGUMENTS` in a process of its own, its kernels and its Python compiled."""
    def run(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        return subprocess.Popen([sys.executable, "-m", "edgerun", "run", "-m", str(smollm2), *arguments], env=compiled, **streams)

    assert run("-n", "1", "Hi").wait(300) == 0
    return run


@pytest.mark.model
def test_it_knows_the_capital_of_france(start: Edgerun) -> None:
    out, err = start("--raw", "-n", "8", "--temp", "0", "The capital of France is").communicate()
    assert out.startswith(b" Paris")
    assert out.endswith(b"\n")
    assert err == b""


@pytest.mark.model
def test_it_answers_a_greeting(start: Edgerun) -> None:
    value = json.loads(start("-n", "64", "--temp", "0", "-o", "json", "Hi").communicate()[0])
    assert value["text"].startswith("Hello")
    assert value["finish_reason"] == "stop"
    assert 3 < value["usage"]["completion_tokens"] < 64


@pytest.mark.model
def test_statistics(start: Edgerun) -> None:
    _, err = start("-n", "8", "--stats", "Tell a story").communicate()
    lines = err.decode().splitlines()
    assert [line.split(":")[0] for line in lines] == ["load", "compile", "first token", "prompt", "answer", "between tokens", "memory", "ended"]
    assert "this machine reads" in lines[4]


@pytest.mark.model
def test_a_warm_run_costs_less_than_importing_numba_twice(start: Edgerun, compiled: dict[str, str]) -> None:
    """In seconds of CPU for one token; the best of five each, in turn, since other work on the machine costs cache."""
    def spent(process: subprocess.Popen[bytes]) -> float:
        begun = os.times()
        assert process.wait(60) == 0
        ended = os.times()
        return ended.children_user + ended.children_system - begun.children_user - begun.children_system

    def imports() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", "import numba"], env=compiled)

    assert imports().wait(60) == 0   # compiles its Python
    pairs = [(spent(start("-n", "1", "Hi")), spent(imports())) for _ in range(5)]
    answer, numba = (min(figures) for figures in zip(*pairs, strict=True))
    assert answer < 2 * numba, pairs


@pytest.mark.model
@pytest.mark.parametrize("when", ["prefill", "decode"])
def test_ctrl_c_answers_quickly(start: Edgerun, tmp_path: Path, when: str) -> None:
    """Within 0.3 s; the best of three, since other work on the machine costs time."""
    (tmp_path / "long.txt").write_text("The quick brown fox jumps over the lazy dog. " * 700)
    waited = []
    for _ in range(3):
        process = start("-f", str(tmp_path / "long.txt")) if when == "prefill" else start("Write a very long story.")
        assert process.stdout
        if when == "prefill":
            time.sleep(1.5)
        else:
            process.stdout.read(1)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=10)[1] == b""
        assert process.returncode == 130
        waited.append(time.monotonic() - begun)
        if waited[-1] < 0.3:
            break
    assert min(waited) < 0.3


@pytest.mark.model
def test_a_reader_that_goes_away(start: Edgerun) -> None:
    process = start("Write a very long story.")
    assert process.stdout
    assert len(process.stdout.read(20)) == 20
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read() == b""
    assert process.wait(10) == 141


@pytest.mark.model
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk(start: Edgerun) -> None:
    with open("/dev/full", "wb") as full:
        process = start("Write a very long story.", stdout=full)
        assert process.communicate(timeout=60)[1] == b"edgerun: the output could not be written: No space left on device\n"
    assert process.returncode == 4


def unknown_architecture(path: Path) -> None:
    with GGUFWriter(path) as writer:
        writer.add("general.architecture", "perceptron")
        writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))


def truncated(path: Path) -> None:
    unknown_architecture(path)
    os.truncate(path, path.stat().st_size - 40)


FILES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "a folder": Path.mkdir,
    "a named pipe": os.mkfifo,
    "empty": Path.touch,
    "text": lambda path: path.write_text("Once upon a time\n"),
    "unknown architecture": unknown_architecture,
    "truncated": truncated,
}


@pytest.mark.parametrize("kind", FILES)
def test_files_that_are_no_model(cli: Callable[..., Any], tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.gguf"
    FILES[kind](path)
    for command in (("run", "-m", str(path), "Hi"), ("chat", "-m", str(path))):
        result = cli(*command)
        assert (result.code, result.out) == (3, "")
        assert result.err.startswith("edgerun: ")
        assert result.err.count("\n") == 1
