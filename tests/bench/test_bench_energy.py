"""Energy counters: several packages, counters that begin again, and those that may not be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgerun.bench.energy import Energy


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two packages, a part of one, and the whole platform."""
    for zone, name in (("intel-rapl:0", "package-0"), ("intel-rapl:1", "package-1"), ("intel-rapl:0:0", "core"), ("intel-rapl:2", "psys")):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "name").write_text(f"{name}\n")
        (tmp_path / zone / "max_energy_range_uj").write_text("10000000\n")
        count(tmp_path, zone, 9_000_000)
    return tmp_path


def count(folder: Path, zone: str, microjoules: int) -> None:
    (folder / zone / "energy_uj").write_text(f"{microjoules}\n")


def test_packages_are_added_up(folder: Path) -> None:
    energy = Energy(folder)
    assert energy.joules() == 0.0
    count(folder, "intel-rapl:0", 9_500_000)
    count(folder, "intel-rapl:0:0", 9_900_000)
    count(folder, "intel-rapl:2", 9_900_000)
    assert energy.joules() == 0.5
    count(folder, "intel-rapl:1", 1_000_000)   # it began again
    assert energy.joules() == 2.5
    assert energy.warning is None


def test_for_root_only(folder: Path) -> None:
    (folder / "intel-rapl:1" / "energy_uj").unlink()   # root reads everything, so a counter that is not there stands for one that may not be read
    energy = Energy(folder)
    assert energy.joules() is None
    assert energy.warning == "energy is not measured: /sys/class/powercap is readable by root only"


def test_no_counters(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        energy = Energy(place)
        assert (energy.joules(), energy.warning) == (None, None)


def test_a_counter_that_goes_away(folder: Path) -> None:
    energy = Energy(folder)
    (folder / "intel-rapl:0" / "energy_uj").write_text("garbage")
    assert energy.joules() is None
