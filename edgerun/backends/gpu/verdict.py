"""What is known of a device, kept in the cache folder: its self-test, and runs on it that did not end. Knows no kernel.

The key is the device, its driver, wgpu's version and the sources of the kernels: when one of them changes, the device is tested
anew. A run on a device leaves a marker, locked while it lives and removed at its end. One that is there and not locked is of a
run that died, so the device is tested again, and after three of them in a row it is not used unless it is asked for.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgerun import config
from edgerun.backends.gpu.device import Facts
from edgerun.backends.gpu.selftest import Outcome, selftest
from edgerun.backends.keep import keep
from edgerun.errors import ResourceError
from edgerun.hub.lock import Lock

MOST_DEATHS = 3
_LARGEST = 1 << 16
_counter = iter(range(1 << 62))


@dataclass(frozen=True)
class Verdict:
    """faults and figures: of the self-test, see `Outcome`. deaths: how many runs in a row did not end."""

    faults: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    deaths: int = 0

    @property
    def against(self) -> str | None:
        """Why the device is not to be used, in words; None where it may be."""
        if self.faults:
            return f"its self-test failed: {self.faults[0]}" + (f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else "")
        return f"the last {self.deaths} runs on it did not end" if self.deaths >= MOST_DEATHS else None


class Record:
    """What is kept of one device. Without a folder that can be written nothing is kept, and the device is tested every time."""

    def __init__(self, facts: Facts, folder: Path | None = None) -> None:
        self.facts = facts
        self.folder = folder or config.devices_folder()
        said = "\0".join((facts.name, facts.kind, facts.driver, facts.backend, facts.wgpu))
        self.key = hashlib.sha256(said.encode() + b"\0" + _sources_digest()).hexdigest()[:24]

    def judge(self, test: Callable[[Facts], Outcome] = selftest, fresh: bool = False) -> Verdict:
        """The verdict that is kept, or else a new one, which takes a while. fresh: test in any case, and forget runs that died."""
        with self.locked():
            died, kept = self._sweep(), self.read()
            if kept and not died and not fresh:
                return kept
            found = test(self.facts)
            verdict = Verdict(found.faults, found.figures, 0 if fresh else died + (kept.deaths if kept else 0))
            self._write(verdict)
            return verdict

    def known(self) -> bool:
        """Whether `judge` will answer at once."""
        if self.read() is None:
            return False
        with self.locked():
            return not any(map(_dead, self._markers()))

    def read(self) -> Verdict | None:
        """What is kept; None where there is nothing, or nothing that makes sense."""
        with contextlib.suppress(OSError, ValueError, RecursionError), open(self.folder / f"{self.key}.json", "rb") as file:
            said = json.loads(file.read(_LARGEST))
            outcome, deaths = Outcome.of(said), said.get("deaths") if isinstance(said, dict) else None
            if outcome and isinstance(deaths, int) and deaths >= 0:
                return Verdict(outcome.faults, outcome.figures, deaths)
        return None

    def begin(self) -> Run:
        """Mark that the device is in use, until the run ends or this process does as it should."""
        run = Run(self, self.folder / f"{self.key}.{os.getpid()}-{next(_counter)}.run")
        atexit.register(run.end)
        return run

    def forgive(self) -> None:
        """Forget the runs that died, because one did not."""
        kept = self.read()
        if kept and kept.deaths:
            self._write(Verdict(kept.faults, kept.figures))

    def _markers(self) -> Iterator[Path]:
        with contextlib.suppress(OSError):
            yield from self.folder.glob(f"{self.key}.*.run")

    def _sweep(self) -> int:
        """How many runs have died since the last time; their markers go."""
        died = 0
        for path in filter(_dead, self._markers()):
            with contextlib.suppress(OSError):
                os.unlink(path)
                died += 1
        return died

    def _write(self, verdict: Verdict) -> None:
        said = {"device": self.facts.summary, "faults": verdict.faults, "figures": dict(verdict.figures), "deaths": verdict.deaths}
        keep(self.folder / f"{self.key}.json", json.dumps(said, indent=1).encode())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One process tests while others wait; a folder that cannot be written protects nothing, and needs no protection."""
        with contextlib.ExitStack() as held:
            with contextlib.suppress(ResourceError):
                held.enter_context(Lock(self.folder / f"{self.key}.lock"))
            yield


class Run:
    """One process at work on a device, as others see it."""

    def __init__(self, record: Record, path: Path) -> None:
        self._record, self._path, self._marker, self._ended = record, path, Lock(path), False
        with record.locked(), contextlib.suppress(ResourceError):
            self._marker.acquire()

    def end(self, well: bool = True) -> None:
        """It is over. well: the device did as it should; else it is tested before it is used again. The first word counts."""
        if self._ended:
            return
        self._ended = True
        atexit.unregister(self.end)
        with self._record.locked():
            self._marker.release()
            if well:
                with contextlib.suppress(OSError):
                    os.unlink(self._path)
                self._record.forgive()


def _dead(marker: Path) -> bool:
    """Whether nobody holds it any more. Ask with the record locked: a marker that has gone meanwhile would be made anew."""
    lock = Lock(marker)
    with contextlib.suppress(ResourceError):
        if lock.acquire():
            lock.release()
            return True
    return False


def _sources_digest() -> bytes:
    """Hash of everything that decides what a kernel computes."""
    here = Path(__file__).parent
    files = [*here.rglob("*.py"), *here.rglob("*.wgsl"), *(here.parents[1] / "formats").glob("*.py")]
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.digest()
