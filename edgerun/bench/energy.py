"""Energy that the processor says it has used: Linux's powercap counters (RAPL). Knows no test.

docs.kernel.org/power/powercap/powercap.html: `energy_uj` counts microjoules up to `max_energy_range_uj` and begins again.
"""

from __future__ import annotations

from pathlib import Path

from edgerun import machine

_FOLDER = Path("/sys/class/powercap")


class Energy:
    """The packages of this machine. warning: a line where it has counters that this user may not read."""

    def __init__(self, folder: Path = _FOLDER) -> None:
        # intel-rapl:0 is a package (AMD's have the same name); intel-rapl:0:0 is a part of it, and psys is more than the processor.
        zones = [zone for zone in sorted(folder.glob("intel-rapl:*")) if zone.name.count(":") == 1 and machine.text_of(zone / "name").startswith("package")]
        self._packages = {zone: count for zone in zones if (count := _number(zone / "energy_uj")) is not None}
        self._total = 0
        self.warning: str | None = None
        if zones and len(self._packages) < len(zones):
            self._packages = {}
            self.warning = "energy is not measured: /sys/class/powercap is readable by root only"

    def joules(self) -> float | None:
        """Used since this object was made; None where it is not known."""
        if not self._packages:
            return None
        for zone, before in self._packages.items():
            now = _number(zone / "energy_uj")
            if now is None:
                return None
            around = _number(zone / "max_energy_range_uj") or 0
            self._total += now - before if now >= before else now + around - before
            self._packages[zone] = now
        return self._total / 1e6


def _number(path: Path) -> int | None:
    return machine.integer(machine.text_of(path))
