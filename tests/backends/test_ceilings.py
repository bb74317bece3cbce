"""What the machine can do at most: that it is measured, with memory that no cache holds, and kept for a while."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from edgerun import machine
from edgerun.backends.cpu import ceilings as module
from edgerun.backends.cpu import isa as isas
from edgerun.backends.cpu.ceilings import Ceilings, ceilings, measure

FILE = "ceilings.json"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Threads of each measurement, of which none takes place."""
    calls: list[int] = []

    def fake(threads: int) -> Ceilings:
        calls.append(threads)
        return Ceilings(threads, isas.choose().name, 1e9 * len(calls), 2e9)

    monkeypatch.setattr(module, "measure", fake)
    return calls


@pytest.mark.parametrize("isa", isas.runnable(), ids=lambda isa: isa.name)
def test_both_are_measured_on_every_instruction_set(isa: isas.Isa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGERUN_ISA", isa.name)
    monkeypatch.setattr(module, "READ_SECONDS", 0.01)
    monkeypatch.setattr(module, "PEAK_SECONDS", 0.01)
    found = measure(2, 1 << 20)
    assert (found.threads, found.isa) == (2, isa.name)
    assert 1e8 < found.read < 1e13
    assert 1e8 < found.macs < 1e14


def test_more_is_read_than_the_caches_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory", lambda: machine.Memory(64 << 30, "free"))
    monkeypatch.setattr(machine, "caches", lambda root: [machine.Cache(1, "Data", 48 << 10, 1), machine.Cache(3, "Unified", 32 << 20, 8)])
    assert module.reading_size() == 1 << 30
    monkeypatch.setattr(machine, "caches", lambda root: [machine.Cache(3, "Unified", 768 << 20, 8)])
    assert module.reading_size() == 1536 << 20
    monkeypatch.setattr(machine, "memory", lambda: machine.Memory(1 << 30, "free"))
    assert module.reading_size() == 256 << 20
    monkeypatch.setattr(machine, "caches", lambda root: [])
    assert machine.last_level_cache() == 0


def test_what_was_measured_is_kept(measured: list[int], home: Path) -> None:
    assert ceilings(2) == ceilings(2) == Ceilings(2, isas.choose().name, 1e9, 2e9)
    assert ceilings(1).read == 2e9
    assert measured == [2, 1]
    assert ceilings(2, fresh=True).read == ceilings(2).read == 3e9
    assert sorted(path.name for path in home.iterdir()) == [FILE]


def test_it_is_not_kept_for_ever(measured: list[int], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ceilings(2)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + module.KEPT + 1)
    ceilings(2)
    monkeypatch.setattr(time, "time", lambda: now - 9)   # a clock that was set back
    ceilings(2)
    assert measured == [2, 2, 2]


def test_another_machine_has_other_figures(measured: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    ceilings(2)
    monkeypatch.setattr(machine, "cpu_name", lambda: "another")
    ceilings(2)
    assert measured == [2, 2]


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 50_000, '{"a": 1}', '{"KEY": {"read": "x", "macs": 1, "at": 1}}', '{"KEY": {"read": NaN, "macs": 1, "at": 1}}'])
def test_a_damaged_file_holds_nothing(measured: list[int], home: Path, text: str) -> None:
    ceilings(2)
    (key,) = json.loads((home / FILE).read_text())
    (home / FILE).write_text(text.replace("KEY", key.replace("\\", "\\\\")))
    ceilings(2)
    ceilings(2)
    assert measured == [2, 2]


def test_a_home_that_takes_nothing(measured: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGERUN_HOME", str(tmp_path / "file"))
    ceilings(2)
    ceilings(2)
    assert measured == [2, 2]
