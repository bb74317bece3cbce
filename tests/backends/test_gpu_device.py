"""Devices: which are taken without being named, what their drivers may say, and one opened. What has no marker needs no wgpu."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from typing import Any

import pytest

from edgerun.backends.gpu import device as module
from edgerun.backends.gpu.device import FEATURES, Adapter, Device, Facts, Journal, adapters, choose, open_device
from edgerun.errors import DeviceError, UsageError

REAL = Facts("Fast GPU 9000", "discrete", "1.2.3", "Vulkan", "0.32.0", {}, frozenset())
SOFTWARE = replace(REAL, name="llvmpipe", kind="software")
OLD = replace(REAL, backend="OpenGL")
SMALL = replace(REAL, name="Small GPU", kind="integrated", backend="D3D12")


class Native:
    """A GPUAdapter as wgpu gives it."""

    def __init__(self, **info: Any) -> None:
        self.info = {"device": "X", "adapter_type": "DiscreteGPU", "backend_type": "Vulkan", "description": "1"} | info
        self.limits, self.features = {"max-buffer-size": 1}, {"subgroup", "clear-texture"}


def of(*facts: Facts) -> list[Adapter]:
    return sorted((Adapter(each, None) for each in facts), key=module._rank)


def test_what_is_taken_without_a_name() -> None:
    assert choose(of(SOFTWARE, OLD, SMALL, REAL), None).facts == REAL
    assert choose(of(SOFTWARE, OLD, SMALL), None).facts == SMALL
    with pytest.raises(DeviceError, match=r"without naming it: Fast GPU 9000 \(discrete, OpenGL\), llvmpipe \(software, Vulkan\)"):
        choose(of(SOFTWARE, OLD), None)
    with pytest.raises(DeviceError, match="no GPU, or no driver for it"):
        choose([], None)


@pytest.mark.parametrize(("name", "found"), [
    ("llvmpipe", SOFTWARE), ("FAST", REAL), ("fast opengl", OLD), ("gpu", REAL), ("gpu integrated", SMALL), ("d3d12", SMALL),
])  # fmt: skip
def test_names(name: str, found: Facts) -> None:
    assert choose(of(SOFTWARE, OLD, SMALL, REAL), name).facts == found


def test_a_name_that_nothing_has() -> None:
    with pytest.raises(UsageError, match=r"no device is called 'voodoo\\x1b'; there are: llvmpipe \(software, Vulkan\)"):
        choose(of(SOFTWARE), "voodoo\x1b")


def test_words_of_a_driver() -> None:
    """They are shown in terminals and reports."""
    facts = module._facts(Native(device="evil\x1b[2J\nGPU" + 300 * "x", description=None, adapter_type="Quantum"), "1")
    assert facts.name.startswith("evil?[2J GPUxxx")
    assert len(facts.name) == 200
    assert (facts.kind, facts.driver) == ("unknown", "")


def test_without_wgpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wgpu", None)
    with pytest.raises(DeviceError, match=r"wgpu cannot be used here|wgpu is not installed"):
        adapters()


def test_nothing_imports_wgpu_before_it_is_needed() -> None:
    import subprocess

    code = "import sys, edgerun.backends.gpu, edgerun.placement, edgerun.backends.gpu.verdict, edgerun.backends.gpu.memory; sys.exit('wgpu' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_lost_device_is_noticed() -> None:
    journal, log = Journal(), logging.getLogger("test-gpu-journal")
    journal.attach(log)
    log.propagate = False
    log.error("The WGPU device was lost (Destroyed):\nDevice dropped.")
    log.error("something else")
    assert journal.lost is None
    log.error("The WGPU device was lost (Unknown):\nParent device\x1b is lost")
    assert journal.lost == "Parent device? is lost"
    journal.detach()
    assert not log.handlers


def test_what_is_to_be_done_at_the_end_is_done_once() -> None:
    done: list[str] = []
    device = Device(None, REAL, Journal())
    device.at_close(lambda: done.append("first"))
    device.at_close(lambda: done.append("second"))
    device.close()
    device.close()
    assert done == ["second", "first"]


@pytest.mark.gpu
def test_an_open_device(gpu_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    device = open_device(gpu_name)
    facts = device.facts
    assert facts.is_called(gpu_name)
    assert facts.limits["max-storage-buffer-binding-size"] >= 128 << 20
    assert facts.features <= set(FEATURES) | set(device.wgpu.features)
    buffer = device.wgpu.create_buffer_with_data(data=b"12345678", usage=0x4 | 0x80)
    assert bytes(device.wgpu.queue.read_buffer(buffer)) == b"12345678"
    assert device.lost is None
    device.close()


@pytest.mark.gpu
def test_a_device_that_refuses(gpu_name: str) -> None:
    adapter = choose(adapters(), gpu_name)

    class Refusing:
        limits: dict[str, int] = {}

        def request_device_sync(self, **options: Any) -> None:
            raise RuntimeError("Request device failed (3):\nno")

    with pytest.raises(DeviceError, match=r"cannot be opened: Request device failed \(3\): no"):
        module.open_adapter(Adapter(adapter.facts, Refusing()))
