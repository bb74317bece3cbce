"""What macOS and Windows are asked, with stand-ins for their libraries."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgerun import foreign, machine

GIB = 1 << 30


def core(efficiency: int, size: int = 48) -> bytes:
    return struct.pack("<IIBB", 0, size, 1, efficiency).ljust(size, b"\0")


def fill(pointer: Any, data: bytes) -> None:
    ctypes.memmove(pointer, data, len(data))


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Windows with two fast cores, two slow ones, 6 CPUs of them allowed, and 3 GiB free."""
    records = core(1) + core(1) + core(0) + core(0)

    def cores(relation: int, buffer: Any, needed: Any) -> int:
        fill(needed, struct.pack("<I", len(records)))
        if buffer is not None:
            fill(buffer, records)
        return buffer is not None

    def affinity(process: Any, ours: Any, every: Any) -> int:
        fill(ours, struct.pack("<Q", 0b111111))
        return 1

    def memory(status: Any) -> int:
        assert struct.unpack_from("<I", status.raw)[0] == 64
        fill(status, struct.pack("<IIQQ", 64, 0, 8 * GIB, 3 * GIB))
        return 1

    def counters(process: Any, buffer: Any, size: int) -> int:
        assert struct.unpack_from("<I", buffer.raw)[0] == size == 72
        fill(buffer, struct.pack("<IIQ", 72, 0, 5 * GIB))
        return 1

    kernel = SimpleNamespace(
        GetLogicalProcessorInformationEx=cores, GetProcessAffinityMask=affinity, GlobalMemoryStatusEx=memory, K32GetProcessMemoryInfo=counters,
        SwitchToThread=ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 0),
    )  # fmt: skip
    monkeypatch.setattr(foreign, "SYSTEM", "win32")
    monkeypatch.setattr(foreign, "_kernel32", lambda: kernel)
    return kernel


@pytest.fixture
def macos(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """macOS with four fast cores of eight, and 7 pages of 16 kB free or inactive."""
    values = {"hw.perflevel0.physicalcpu": 4, "hw.physicalcpu": 8, "hw.pagesize": 16384}

    def sysctl(name: bytes, value: Any, size: Any, new: Any, length: Any) -> int:
        if name.decode() not in values:
            return -1
        fill(value, struct.pack("<I", values[name.decode()]))
        return 0

    def statistics(host: int, flavour: int, words: Any, count: Any) -> int:
        assert flavour == 4
        fill(words, struct.pack("<4I", 5, 100, 2, 1000))
        return 0

    libc = SimpleNamespace(sysctlbyname=sysctl, host_statistics64=statistics, mach_host_self=lambda: 0)
    monkeypatch.setattr(foreign, "SYSTEM", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: libc)
    return values


def test_windows(windows: SimpleNamespace) -> None:
    assert foreign.cpus() == 6
    assert foreign.fast_cores() == 2
    assert foreign.free_memory() == 3 * GIB
    assert foreign.peak_memory() == 5 * GIB
    assert foreign.yield_address() == ctypes.cast(windows.SwitchToThread, ctypes.c_void_p).value


@pytest.mark.parametrize("ask", [foreign.cpus, foreign.fast_cores, foreign.free_memory, foreign.peak_memory])
def test_windows_that_refuses(windows: SimpleNamespace, ask: Callable[[], int | None]) -> None:
    for name in vars(windows):
        setattr(windows, name, lambda *args: 0)
    assert ask() is None


def test_macos(macos: dict[str, int]) -> None:
    assert foreign.fast_cores() == 4
    assert foreign.free_memory() == 7 * 16384
    assert foreign.cpus() is None
    assert foreign.peak_memory() is None
    del macos["hw.perflevel0.physicalcpu"]   # Intel: all cores are alike
    assert foreign.fast_cores() == 8
    macos.clear()
    assert foreign.fast_cores() is None
    assert foreign.free_memory() is None


def test_other_systems_have_files_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "SYSTEM", "linux")
    assert [ask() for ask in (foreign.cpus, foreign.fast_cores, foreign.free_memory, foreign.peak_memory)] == [None] * 4
    assert foreign.yield_address()


@pytest.mark.parametrize("records", [b"", b"\0" * 9, core(1, 10)[:9], struct.pack("<IIBB", 0, 0, 0, 0), struct.pack("<IIBB", 3, 1 << 31, 0, 0)])
def test_damaged_records_end_the_count(records: bytes) -> None:
    assert foreign.count_fast(records) in (None, 1)


def test_the_machine_asks_where_it_finds_no_files(macos: dict[str, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "_affinity", lambda root: frozenset(range(8)))
    assert machine.threads() == machine.Threads(4, "4 fast physical cores of 8 logical ones")
    assert machine.threads(8).count == 8
    assert machine.memory(tmp_path).available == 7 * 16384
