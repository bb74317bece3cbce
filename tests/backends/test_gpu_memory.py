"""Memory of a device: what tells, and what does not."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from edgerun import machine
from edgerun.backends.gpu import memory as module
from edgerun.backends.gpu.device import Facts
from edgerun.backends.gpu.memory import memory
from edgerun.errors import UsageError
from edgerun.machine import Memory

CARD = Facts("NVIDIA Fast 9000", "discrete", "1.2", "Vulkan", "0.32.0", {}, frozenset())


@pytest.mark.parametrize(("text", "nbytes"), [("8G", 8 << 30), ("512 MiB", 512 << 20), ("1.5gb", 3 << 29), ("123456", 123456), ("2T", 2 << 40)])
def test_the_user_says(text: str, nbytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGERUN_GPU_MEMORY", text)
    assert memory(CARD) == Memory(nbytes, "EDGERUN_GPU_MEMORY")


@pytest.mark.parametrize("text", ["much", "8X", "-1G", "8GG", "1e9", "\x1b[2J"])
def test_no_size(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGERUN_GPU_MEMORY", text)
    with pytest.raises(UsageError, match=r"is no size; write it as 8G or 512M") as caught:
        memory(CARD)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("kind", ["integrated", "software"])
def test_a_device_that_shares_the_machines(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory", lambda: Memory(5, "as told"))
    assert memory(replace(CARD, kind=kind)) == Memory(5, "as told")


def tool(folder: Path, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(module.shutil, "which", lambda name: str(path))


@pytest.mark.parametrize(("says", "nbytes"), [
    ("echo 'NVIDIA Fast 9000, 1000'; echo 'NVIDIA Fast 9000, 700'; echo 'NVIDIA Slow, 3'", 700 << 20), ("echo Failed; exit 9", None), ("echo 'NVIDIA Fast 9000, [N/A]'", None),
    ("echo other, 1", None),
])  # fmt: skip
def test_nvidia(says: str, nbytes: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path, says, monkeypatch)
    assert memory(CARD) == (nbytes and Memory(nbytes, "free memory of the GPU"))
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    assert memory(CARD) is None


def test_the_kernel_tells_of_one_card(tmp_path: Path) -> None:
    for card, total, used in (("card0", "1000", "400"), ("card1", "", "")):
        (folder := tmp_path / card / "device").mkdir(parents=True)
        (folder / "mem_info_vram_total").write_text(total)
        (folder / "mem_info_vram_used").write_text(used)
    assert module._drm(tmp_path) == 600
    (tmp_path / "card1/device/mem_info_vram_total").write_text("5")
    (tmp_path / "card1/device/mem_info_vram_used").write_text("1")
    assert module._drm(tmp_path) is None   # which of them it is, is not known
    assert module._drm(tmp_path / "nowhere") is None


def test_nobody_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_drm", lambda: None)
    assert memory(replace(CARD, name="Other")) is None
    assert memory(replace(CARD, name="Other", kind="unknown")) is None
