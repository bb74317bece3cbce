"""Compiling in child processes: what they are given, what they give back, how they fail, and that none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from edgerun.backends.cpu import compiler, objectcode
from edgerun.backends.cpu.compiler import compile_kernels, environment
from edgerun.backends.cpu.isa import PORTABLE, choose, host, target
from edgerun.errors import ResourceError

Compile = Callable[..., list[tuple[str, str, bytes]]]


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, which must be empty in the end."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Every child that is started."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*args, **options))
        return started[-1]

    popen = subprocess.Popen
    monkeypatch.setattr(compiler.subprocess, "Popen", start)
    return started


def test_a_process_that_compiled_a_kernel_compiles_and_calls_functions_as_before() -> None:
    program = """
        from numba import njit
        from edgerun.backends.cpu.kernels import run
        from edgerun.backends.cpu.kernels.compiled import compile_object
        inner = njit(lambda x: 2 * x)
        assert compile_object(run.build("chain"), "run-chain", 2, False)[1]
        assert njit(lambda x: inner(x) + 1)(20) == 41
        """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=environment(PORTABLE), check=True, timeout=120)


def test_kernels_come_with_symbol_and_object(scratch: Path, children: list[subprocess.Popen[bytes]], capfd: pytest.CaptureFixture[str]) -> None:
    calls: list[tuple[int, int]] = []
    names = ["row-map-add", "run-chain", "run-work"]
    made = {name: (symbol, code) for name, symbol, code in compile_kernels(names, choose(), lambda *call: calls.append(call))}
    assert sorted(made) == names
    for name, (symbol, code) in made.items():
        assert name.replace("-", "_") in symbol
        assert symbol.encode() in code
        assert objectcode.harmless(code)
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert all(child.returncode == 0 for child in children)
    assert not list(scratch.iterdir())
    assert capfd.readouterr() == ("", "")


def test_the_environment_of_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's settings for Numba may end up in the kernels that are kept."""
    for name, value in {"NUMBA_OPT": "0", "NUMBA_DISABLE_JIT": "1", "NUMBA_CPU_NAME": "i386", "EDGERUN_KERNEL_ISA": "x", "PYTHONPATH": "/mine::yours"}.items():
        monkeypatch.setenv(name, value)
    got = environment(PORTABLE)
    assert {name: value for name, value in got.items() if name.startswith("NUMBA_")} == {
        "NUMBA_CPU_NAME": target(PORTABLE)[0],
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_NUM_THREADS": "1",
        "NUMBA_OPT": "2",
    }
    assert (got["EDGERUN_KERNEL_ISA"], got["EDGERUN_KERNEL_CORE"]) == ("portable", host()[0])
    assert environment(PORTABLE, "znver4")["EDGERUN_KERNEL_CORE"] == "znver4"
    assert got["PYTHONPATH"].split(os.pathsep) == [str(Path(compiler.__file__).parents[3]), "/mine", os.path.abspath("yours")]
    assert got["PATH"] == os.environ["PATH"]


def test_longest_first_and_evenly() -> None:
    names = ["row-select", "product-Q4_0", "attention-f16-f16-3", "product_float-f32"]
    assert compiler._shares(names, 2) == [["attention-f16-f16-3"], ["product-Q4_0", "product_float-f32", "row-select"]]
    assert compiler._shares(names, 9) == [["attention-f16-f16-3"], ["product-Q4_0"], ["product_float-f32"], ["row-select"]]


# ---- failures ----------------------------------------------------------------------------------------------------------


def test_a_kernel_that_does_not_compile_is_a_bug_with_the_last_words(scratch: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)compiling kernels failed \(exit \[1\]\).*KeyError: 'nonsense'"):
        list(compile_kernels(["row-nonsense"], choose(), None))
    assert not list(scratch.iterdir())


def test_a_system_without_that_signal(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "signal", object())
    with pytest.raises(RuntimeError, match="KeyError: 'nonsense'"):
        list(compile_kernels(["row-nonsense"], choose(), None))


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [(signal.SIGKILL, ResourceError, "most likely for want of memory"), (signal.SIGSEGV, RuntimeError, r"exit \[-11\]")],
    ids=["killed", "crashed"],
)
def test_a_child_that_is_killed(scratch: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception], message: str) -> None:
    popen = subprocess.Popen

    def start(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        child = popen(*args, **options)
        child.send_signal(number)
        return child

    monkeypatch.setattr(compiler.subprocess, "Popen", start)
    with pytest.raises(error, match=message):
        list(compile_kernels(["run-chain"], choose(), None))
    assert not list(scratch.iterdir())


def test_without_a_folder_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    with pytest.raises(ResourceError, match="set TMPDIR"):
        list(compile_kernels(["run-chain"], choose(), None))


@pytest.mark.parametrize("where", ["progress", "consumer"])
def test_an_exception_leaves_no_child(scratch: Path, children: list[subprocess.Popen[bytes]], where: str) -> None:
    def progress(done: int, of: int) -> None:
        if done and where == "progress":
            raise BrokenPipeError

    def consume() -> None:
        for _ in compile_kernels(["run-chain", "attention-f16-f16-3"], choose(), progress):
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        consume()
    assert children
    assert all(child.returncode is not None for child in children)
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("everyone", [False, True], ids=["one process", "the whole group"])
def test_ctrl_c_leaves_no_child_and_no_file(tmp_path: Path, everyone: bool) -> None:
    """In a terminal the signal goes to the group; a supervisor sends it to one process."""
    code = (
        "import sys, pathlib\nfrom edgerun.backends.cpu.isa import choose\nfrom edgerun.backends.cpu.store import KernelStore\n"
        "KernelStore(choose(), pathlib.Path(sys.argv[1])).load(['attention-f16-f16-3', 'attention-f32-f32-3'], lambda *call: print(*call, flush=True))"
    )
    scratch, kernels = tmp_path / "scratch", tmp_path / "kernels"
    scratch.mkdir()
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(scratch)}
    process = subprocess.Popen([sys.executable, "-c", code, kernels], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    assert process.stdout
    assert process.stdout.readline() == b"0 2\n"
    while not list(scratch.glob("*/errors")):
        time.sleep(0.01)
    time.sleep(0.3)
    (os.killpg if everyone else os.kill)(process.pid, signal.SIGINT)
    begun = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - begun < 5
    assert err.rstrip().endswith(b"KeyboardInterrupt")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)   # nobody is left in its group
    assert not list(scratch.iterdir())
    assert [path.name for path in kernels.rglob("*") if path.is_file()] == ["lock"]


def test_a_name_is_written_in_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children write to one pipe; with PYTHONUNBUFFERED, print would write the end of the line by itself, behind another's name."""
    from edgerun.backends.cpu.kernels import __main__ as child
    from edgerun.backends.cpu.kernels import compiled, selftest

    class Pipe:
        written: ClassVar[list[str]] = []

        def write(self, text: str) -> None:
            self.written.append(text)

        def flush(self) -> None:
            pass

    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(selftest, "check", lambda: None)
    monkeypatch.setattr(compiled, "compile_object", lambda *_: ("symbol", b"code"))
    monkeypatch.setattr(sys, "argv", ["kernels", str(tmp_path), "run-chain", "run-fan"])
    monkeypatch.setattr(sys, "stdout", Pipe())
    child.main()
    assert Pipe.written == ["run-chain\n", "run-fan\n"]
    assert (tmp_path / "run-fan.o").read_bytes() == b"symbol\0code"
