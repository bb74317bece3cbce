"""Whether a device computes rightly, found out in a child process: a driver may crash, hang, or give wrong numbers. Keeps nothing.

A child is `python -m edgerun.backends.gpu.selftest DEVICE FILE`; it writes what it found into FILE as JSON and ends. Where it
does not, that is the finding.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgerun.backends.gpu.device import Facts
from edgerun.errors import EdgerunError, ResourceError

PATIENCE = 120.0   # seconds; a GPU takes a few, a software device twenty, and more on a machine that does much else
SOFTWARE_PATIENCE = 400.0
_MOST_FAULTS, _LONGEST_FAULT = 16, 200
_LARGEST = 1 << 16   # bytes of what a child may say


@dataclass(frozen=True)
class Outcome:
    """faults: what was wrong, in words; none where all was right. figures: bytes per second by what was done, as "copy" or "matvec Q4_K"."""

    faults: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, said: Any) -> Outcome | None:
        """Of what was written down as JSON; None where that makes no sense."""
        if not isinstance(said, dict) or not isinstance(said.get("faults"), list) or not isinstance(said.get("figures"), dict):
            return None
        faults, figures = said["faults"], said["figures"]
        if not all(isinstance(fault, str) for fault in faults) or not all(map(_sensible, figures.values())) or len(figures) > 64:
            return None
        return cls(tuple(_line(fault) for fault in faults[:_MOST_FAULTS]), {_line(name): float(figure) for name, figure in figures.items()})


def selftest(facts: Facts, patience: float | None = None, command: Sequence[str] = ()) -> Outcome:
    """Have a child try the device. command: another child than the real one. Takes some seconds; Ctrl-C ends it at once.

    ResourceError where no child can be started.
    """
    patience = patience or (SOFTWARE_PATIENCE if facts.kind == "software" else PATIENCE)
    child = [*(command or (sys.executable, "-P", "-m", __name__)), json.dumps(_key(facts))]
    try:
        with tempfile.TemporaryDirectory(prefix="edgerun-", ignore_cleanup_errors=True) as folder:
            end = _end_of([*child, str(Path(folder, "outcome"))], patience)
            found = _written(Path(folder, "outcome")) if end == 0 else None
    except OSError as error:
        raise ResourceError(f"the self-test of the GPU could not be started: {error.strerror or error}") from None
    if end is None:
        return Outcome((f"it does not end within {patience:g} s",))
    return found or Outcome((f"it crashes ({_name(end)})" if end else "it ends without a result",))


def _end_of(command: list[str], patience: float) -> int | None:
    """The exit code of a child, None where it had to be killed. No child outlives this, except one that the system cannot end."""
    child = subprocess.Popen(
        command, env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return child.wait(patience)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if child.poll() is None:
            child.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):   # a driver may hold it inside the kernel
                child.wait(2.0)


def _environment() -> dict[str, str]:
    paths = [str(Path(__file__).parents[3]), *(os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path)]
    return dict(os.environ) | {"PYTHONPATH": os.pathsep.join(paths)}


def _written(file: Path) -> Outcome | None:
    with contextlib.suppress(OSError, ValueError, RecursionError), open(file, "rb") as lines:
        return Outcome.of(json.loads(lines.read(_LARGEST)))
    return None


def _name(end: int) -> str:
    """An exit code in words."""
    with contextlib.suppress(ValueError):
        return signal.Signals(-end).name if end < 0 else f"exit code {end}"
    return f"exit code {end}"


def _key(facts: Facts) -> list[str]:
    return [facts.name, facts.kind, facts.driver, facts.backend]


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))[:_LONGEST_FAULT]


def _sensible(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


# ---- the child ---------------------------------------------------------------------------------------------------------


def main(key: str, file: str) -> None:
    """Try the device that has this key and write down what was found."""
    try:
        outcome = _tried(json.loads(key))
    except EdgerunError as error:
        outcome = Outcome((str(error),))
    except Exception as error:   # whatever wgpu or the driver has against it
        outcome = Outcome((f"it stops with {type(error).__name__}: {error}",))
    text = json.dumps(asdict(outcome))
    Path(file).write_text(text, encoding="utf-8")
    os._exit(0)   # a driver that crashes at the end of a process has computed rightly until then


def _tried(key: list[str]) -> Outcome:
    from edgerun.backends.gpu import bandwidth, probe
    from edgerun.backends.gpu.device import adapters, open_adapter

    found = [adapter for adapter in adapters() if _key(adapter.facts) == key]
    if not found:
        return Outcome(("it is not there any more",))
    device = open_adapter(found[0])
    faults = probe.check(device)
    if device.lost:
        faults = [*faults, f"the device was lost: {device.lost}"]
    return Outcome(tuple(faults), {} if faults else bandwidth.measure(device))


if __name__ == "__main__":
    main(*sys.argv[1:3])
