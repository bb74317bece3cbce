"""Models on a device, from `load` and from the command line, and what can go wrong on the way: tests that die, runs that die, a device that is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import edgerun
from edgerun.errors import DeviceError

TINY = Path(__file__).parent / "golden" / "oracle" / "llama" / "model.gguf"

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(os.name != "posix", reason="signals")]


@pytest.fixture(scope="module")
def tested_home(tmp_path_factory: pytest.TempPathFactory, gpu_name: str) -> Path:
    """A home in which the device has been tested."""
    folder = tmp_path_factory.mktemp("tested")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGERUN_HOME", str(folder))
        with edgerun.load(TINY, device=gpu_name, context=64):
            pass
    assert len(list(folder.glob("devices/*.json"))) == 1
    return folder


@pytest.fixture
def tested(tested_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGERUN_HOME", str(tested_home))
    return tested_home


def command(*arguments: str, broken: Path | None = None) -> subprocess.Popen[str]:
    """`edgerun run ARGUMENTS`; broken: a folder whose sitecustomize.py every Python process runs at its start."""
    paths = [str(broken)] * bool(broken) + [str(Path(edgerun.__file__).parents[1])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    start = [sys.executable, "-m", "edgerun", "run", "-m", str(TINY), "-c", "64", "--raw", "--temp", "0", *arguments]
    return subprocess.Popen(start, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(*arguments: str, broken: Path | None = None) -> tuple[int, str, str]:
    process = command(*arguments, broken=broken)
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


def ids(llm: edgerun.LLM, n: int = 12) -> list[Any]:
    return list(llm.generate("Hello", max_tokens=n, temperature=0.0))


def test_a_model_on_a_device(tested: Path, gpu_name: str) -> None:
    begun = time.perf_counter()
    with edgerun.load(TINY, device=gpu_name, context=64, numerics="exact") as llm:
        loaded = time.perf_counter() - begun
        assert llm.describe()["device"] == llm.device != "CPU"
        assert llm.warnings == []
        assert list(tested.glob("devices/*.run"))
        on_device = ids(llm)
        assert llm.measure_bandwidth() > 0
    assert not list(tested.glob("devices/*.run"))
    with edgerun.load(TINY, device="cpu", context=64, numerics="exact") as llm:
        assert ids(llm) == on_device
    assert loaded < 20   # with a verdict that is kept it is about one; a machine of many tasks has leave to be slow


def test_the_command_line(tested: Path, gpu_name: str) -> None:
    with edgerun.load(TINY, device="cpu", context=64) as llm:
        text = "".join(ids(llm, 4))
    assert ended("--device", gpu_name, "-n", "4", "Hello") == (0, text + "\n" * (not text.endswith("\n")), "")


def test_a_device_that_there_is_not(tested: Path) -> None:
    code, out, err = ended("--device", "voodoo", "-n", "4", "Hello")
    assert (code, out) == (2, "")
    assert err.startswith("edgerun: no device is called 'voodoo'; there are: ")


@pytest.mark.parametrize(("code", "reason"), [
    ("return ['Q4_K matvec, error 3e-2']", "its self-test failed: Q4_K matvec, error 3e-2"),
    ("import os; os.abort()", "its self-test failed: it crashes (SIGABRT)"),
    ("raise ValueError('no adapter')", "its self-test failed: it stops with ValueError: no adapter"),
])  # fmt: skip
def test_a_self_test_made_to_fail(gpu_name: str, tmp_path: Path, home: Path, code: str, reason: str) -> None:
    """What the child finds, its parent says, and keeps."""
    (tmp_path / "sitecustomize.py").write_text(f"import edgerun.backends.gpu.probe as probe\ndef check(device):\n    {code}\nprobe.check = check\n")
    for broken in (tmp_path, None):   # the second time it is known
        assert ended("--device", gpu_name, "-n", "2", "Hello", broken=broken) == (7, "", f"edgerun: the GPU cannot be used: {reason}; without --device the CPU computes\n")


def test_a_run_that_is_killed(tested: Path, gpu_name: str) -> None:
    process = command("--device", gpu_name, "-n", "-1", "Hello")
    assert process.stdout is not None
    process.stdout.read(1)   # it has begun to answer
    process.kill()
    process.communicate()
    (marker,) = tested.glob("devices/*.run")
    with edgerun.load(TINY, device=gpu_name, context=64) as llm:   # tested again, and well
        assert not marker.exists()
        assert ids(llm)


def test_ctrl_c(tested: Path, gpu_name: str) -> None:
    process = command("--device", gpu_name, "-n", "-1", "Hello")
    assert process.stdout is not None
    process.stdout.read(1)
    begun = time.perf_counter()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode in (130, 0)   # the context is short: it may just have ended
    assert time.perf_counter() - begun < 3   # 0.3 s on a machine that does nothing else
    assert not list(tested.glob("devices/*.run"))


def test_a_lost_device(tested: Path, gpu_name: str) -> None:
    with edgerun.load(TINY, device=gpu_name, context=64) as llm:
        before = ids(llm)
        llm._place.device.wgpu.destroy()   # type: ignore[union-attr]
        for _ in range(2):
            with pytest.raises(DeviceError, match=r"^the GPU .* was lost: .*lost.*; start again, or with --device cpu$") as caught:
                ids(llm)
            assert "\n" not in str(caught.value)
    with edgerun.load(TINY, device=gpu_name, context=64) as llm:   # a new one, after another test
        assert ids(llm) == before
