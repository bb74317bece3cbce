"""Where a model is computed, with devices that are made up and a GPU backend that is the reference. Needs no wgpu."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import edgerun
from edgerun import machine
from edgerun.backends import gpu, reference
from edgerun.backends.cpu.ceilings import Ceilings
from edgerun.backends.gpu import device as devices
from edgerun.backends.gpu import memory as memories
from edgerun.backends.gpu import selftest as selftests
from edgerun.backends.gpu.device import Adapter, Device, Facts, Journal
from edgerun.backends.gpu.selftest import Outcome
from edgerun.backends.gpu.verdict import MOST_DEATHS, Record
from edgerun.errors import DeviceError, ResourceError, UsageError

Refused = type("GPUValidationError", (Exception,), {"__module__": "wgpu.classes"})

TINY = Path(__file__).parent / "golden" / "oracle" / "llama" / "model.gguf"
REAL = Facts("Fast GPU 9000", "discrete", "1.2.3", "Vulkan", "0.32.0", {}, frozenset())
SOFTWARE = replace(REAL, name="llvmpipe", kind="software")
FIGURES = {"copy": 100e9, "matvec Q8_0": 90e9, "matvec F32": 80e9}


class Machine:
    """What there is: change it before loading."""

    def __init__(self) -> None:
        self.adapters: list[Facts] | Exception = [REAL, SOFTWARE]
        self.outcome = Outcome((), FIGURES)
        self.memory: machine.Memory | None = machine.Memory(1 << 30, "free memory of the GPU")
        self.lacks: str | None = None
        self.reads = 20e9
        self.tests = 0
        self.opened: list[Device] = []
        self.computed: list[Any] = []
        self.fails: Exception | None = None

    def found(self) -> list[Adapter]:
        if isinstance(self.adapters, Exception):
            raise self.adapters
        return [Adapter(facts, None) for facts in self.adapters]

    def open(self, adapter: Adapter) -> Device:
        self.opened.append(Device(None, adapter.facts, Journal()))
        return self.opened[-1]

    def test(self, facts: Facts) -> Outcome:
        self.tests += 1
        return self.outcome

    def compile(self, *arguments: Any, device: Device, **options: Any) -> Any:
        self.computed.append(device)
        if self.fails:
            raise self.fails
        return reference.compile(*arguments, **options)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Machine:
    it = Machine()
    monkeypatch.setattr(devices, "adapters", it.found)
    monkeypatch.setattr("edgerun.placement.find_spec", lambda name: object())
    monkeypatch.setattr("edgerun.machine.may_have_gpu", lambda: True)
    monkeypatch.setattr(devices, "open_adapter", it.open)
    monkeypatch.setattr(selftests, "selftest", it.test)
    monkeypatch.setattr(memories, "memory", lambda facts: it.memory)
    monkeypatch.setattr("edgerun.backends.cpu.ceilings.ceilings", lambda threads: Ceilings(threads, "portable", it.reads, 1e9))
    monkeypatch.setattr(gpu, "compile", it.compile, raising=False)
    monkeypatch.setattr(gpu, "plan", reference.plan, raising=False)
    monkeypatch.setattr(gpu, "refusal", lambda program, tensors: it.lacks, raising=False)
    return it


def load(device: str = "auto", **options: Any) -> edgerun.LLM:
    return edgerun.load(TINY, device=device, context=64, **options)


def test_a_gpu_that_is_faster(here: Machine, home: Path) -> None:
    said: list[tuple[str, int, int | None]] = []
    with load(progress=lambda *what: said.append(what)) as llm:
        assert (llm.device, llm.warnings) == ("Fast GPU 9000 (discrete, Vulkan)", [])
        assert llm.describe()["device"] == llm.device
        assert [what for what in said if what[0] == "device"] == [("device", 0, None), ("device", 1, 1)]
        assert list(home.glob("devices/*.run"))
        assert list(llm.generate("Hello", max_tokens=3, temperature=0.0))
        assert llm.measure_bandwidth() == FIGURES["copy"]
    assert not list(home.glob("devices/*.run"))
    assert here.computed == here.opened
    said.clear()
    with load(progress=lambda *what: said.append(what)):
        assert (said, here.tests) == ([], 1)


def cpu(here: Machine, reason: str | None, **options: Any) -> None:
    """Loading ends on the CPU, with this said; asking for the GPU is an error that says the same."""
    with load(**options) as llm:
        assert llm.device == "CPU"
        assert llm.warnings == ([f"GPU not used: {reason}; running on the CPU."] if reason else [])
        assert list(llm.generate("Hello", max_tokens=2, temperature=0.0))


@pytest.mark.parametrize("adapters", [[], [SOFTWARE], [replace(REAL, backend="OpenGL")], DeviceError("wgpu is not installed; pip install 'edgerun[gpu]'")])
def test_where_there_is_no_gpu_nothing_is_said(here: Machine, adapters: list[Facts] | Exception) -> None:
    here.adapters = adapters
    cpu(here, None)
    with pytest.raises(DeviceError, match=r"^the GPU cannot be used: (no GPU|wgpu is not installed).*; without --device the CPU computes$") as caught:
        load("gpu")
    assert caught.value.exit_code == 7
    assert here.tests == 0


@pytest.mark.parametrize("lacking", [("edgerun.machine.may_have_gpu", lambda: False), ("edgerun.placement.find_spec", lambda name: None)], ids=["gpu", "wgpu"])
def test_without_a_gpu_no_driver_is_asked(here: Machine, monkeypatch: pytest.MonkeyPatch, lacking: tuple[str, Callable[..., Any]]) -> None:
    here.adapters = AssertionError("was asked")   # type: ignore[assignment]
    monkeypatch.setattr(*lacking)
    cpu(here, None)


def change(what: str, value: Any) -> Callable[[Machine], None]:
    return lambda here: setattr(here, what, value)


@pytest.mark.parametrize(("broken", "reason"), [
    (change("outcome", Outcome(("Q6_K matvec, error 3e-2",))), "its self-test failed: Q6_K matvec, error 3e-2"),
    (change("lacks", "no kernel for IQ2_XS"), "no kernel for IQ2_XS"),
    (change("fails", ResourceError("the device cannot give 9 MB")), "the device cannot give 9 MB"),
    (change("fails", DeviceError("the device was lost")), "the device was lost"),
    (change("fails", Refused("Validation Error\n\n  too much\x1b memory")), r"it refuses a kernel of this model: 'Validation Error too much\x1b memory'"),
])  # fmt: skip
def test_a_gpu_that_cannot_be_used(here: Machine, broken: Callable[[Machine], None], reason: str, home: Path) -> None:
    broken(here)
    cpu(here, reason)
    for name in ("gpu", "fast"):
        with pytest.raises(DeviceError) as caught:
            load(name)
        assert str(caught.value) == f"the GPU cannot be used: {reason}; without --device the CPU computes"
    assert not list(home.glob("devices/*.run"))
    assert here.tests == (0 if here.lacks else 1)


def test_a_bug_stays_one(here: Machine, home: Path) -> None:
    here.fails = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        load()
    assert not list(home.glob("devices/*.run"))


def test_a_gpu_that_is_slower(here: Machine) -> None:
    here.reads = 85e9   # between those of the formats: the one that most of the model is in counts
    cpu(here, "it reads weights at 80.0 GB/s, the CPU at 85.0")
    with load("gpu") as llm:
        assert llm.device != "CPU"


def test_a_gpu_that_was_not_timed(here: Machine) -> None:
    here.outcome = Outcome()
    cpu(here, "it reads weights at 0.0 GB/s, the CPU at 20.0")


def test_too_little_memory(here: Machine) -> None:
    here.memory = machine.Memory(65 << 20, "EDGERUN_GPU_MEMORY")
    with load() as llm:
        assert llm.device == "CPU"
        (note,) = llm.warnings
        assert note.startswith("GPU not used: not enough memory: ")
        assert "available (EDGERUN_GPU_MEMORY)" in note
        assert note.endswith("; running on the CPU.")
    with pytest.raises(DeviceError, match="not enough memory"):
        load("gpu")
    assert not here.opened


def test_nobody_tells_how_much_memory_there_is(here: Machine) -> None:
    here.memory = None
    cpu(here, "nobody tells how much memory it has; EDGERUN_GPU_MEMORY=8G would")
    with load("gpu") as llm:
        assert llm.device != "CPU"


def test_a_gpu_on_which_runs_die(here: Machine) -> None:
    record = Record(REAL)
    for _ in range(MOST_DEATHS):
        record.judge(here.test)
        record.begin().end(well=False)
    cpu(here, "the last 3 runs on it did not end")
    with load("gpu") as llm:   # who asks for it gets it
        assert llm.device != "CPU"
    with load() as llm:   # and it did well
        assert llm.device != "CPU"


def test_a_device_by_name(here: Machine) -> None:
    with load("LLVMpipe") as llm:
        assert llm.device == "llvmpipe (software, Vulkan)"
    with pytest.raises(UsageError, match="no device is called 'voodoo'; there are: Fast GPU"):
        load("voodoo")


def test_nothing_is_asked_for_the_cpu(here: Machine) -> None:
    here.adapters = AssertionError("was asked")   # type: ignore[assignment]
    cpu(here, None, device="cpu")
    cpu(here, None, backend="cpu")
    cpu(here, None, backend="reference")


@pytest.mark.parametrize(("options", "message"), [
    ({"device": " "}, "a device needs a name"), ({"backend": "reference", "device": "gpu"}, "backend reference computes on the CPU"),
])  # fmt: skip
def test_what_makes_no_sense(here: Machine, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(**options)


def test_a_lost_device_is_tested_again(here: Machine) -> None:
    with load():
        here.opened[0]._journal.lost = "driver reset"
    assert here.tests == 1
    with load():
        assert here.tests == 2


def test_a_memory_plan(here: Machine) -> None:
    assert edgerun.memory_plan(TINY, 64, device="gpu") == edgerun.memory_plan(TINY, 64, backend="reference")
    with pytest.raises(UsageError, match="device 'x' has no memory plan"):
        edgerun.memory_plan(TINY, device="x")
