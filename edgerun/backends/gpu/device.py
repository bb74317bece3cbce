"""The GPUs of this machine, and one of them opened with everything it can do. Knows no kernel, and not whether a device computes rightly.

A software adapter, and OpenGL, are taken only where they are asked for by name: the first is slower than the CPU backend, the second
has been seen to compute wrongly.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgerun.errors import DeviceError, UsageError

FEATURES = ("shader-f16", "subgroup", "immediates", "timestamp-query")   # asked for where they are offered
_KINDS = {"DiscreteGPU": "discrete", "IntegratedGPU": "integrated", "CPU": "software"}
_ORDER = ("discrete", "integrated", "unknown", "software")
_BACKENDS = ("Vulkan", "Metal", "D3D12")   # in this order where a device has several; others are for those who name them


@dataclass(frozen=True)
class Facts:
    """What a device says of itself: name, kind (discrete, integrated, software or unknown), driver and backend, wgpu's version.

    Names are those of its driver, printable and short. limits and features are WebGPU's, by its names.
    """

    name: str
    kind: str
    driver: str
    backend: str
    wgpu: str
    limits: Mapping[str, int] = field(hash=False, compare=False)
    features: frozenset[str] = field(hash=False, compare=False)

    @property
    def by_default(self) -> bool:
        """Whether it may be taken without being named."""
        return self.kind != "software" and self.backend in _BACKENDS

    @property
    def summary(self) -> str:
        """One line, in which its name is looked for."""
        return f"{self.name} ({self.kind}, {self.backend})"

    def is_called(self, name: str) -> bool:
        """Whether every word of `name` is in the summary."""
        return all(word in self.summary.casefold() for word in name.casefold().split())


@dataclass(frozen=True)
class Adapter:
    """A device that could be opened; `native` is wgpu's GPUAdapter."""

    facts: Facts
    native: Any


class Device:
    """An open device. wgpu: the GPUDevice; facts: what it is and, as limits and features, what it was opened with."""

    def __init__(self, native: Any, facts: Facts, journal: Journal) -> None:
        self.wgpu = native
        self.facts = facts
        self._journal = journal
        self._at_close: list[Callable[[], None]] = []

    @property
    def lost(self) -> str | None:
        """Why the device is lost, in the driver's words; None while it is not."""
        return self._journal.lost

    def lose(self, why: str) -> None:
        """It was found to be lost, by what it said when it was given work."""
        self._journal.lost = self._journal.lost or _printable(why)

    def at_close(self, action: Callable[[], None]) -> None:
        """What to do when the device is not needed any more."""
        self._at_close.append(action)

    def close(self) -> None:
        """The device is not needed any more. It is not destroyed: wgpu ends the process where something of it is still under way."""
        while self._at_close:
            self._at_close.pop()()
        self._journal.detach()


class Journal(logging.Handler):
    """Takes what wgpu logs, which is where it says that a device is lost, and keeps it off the user's terminal."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lost: str | None = None
        self._logger: logging.Logger | None = None

    def attach(self, logger: logging.Logger) -> None:
        """Listen to it."""
        logger.addHandler(self)
        self._logger = logger

    def detach(self) -> None:
        """Listen no more."""
        if self._logger is not None:
            self._logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Look for the one message that matters."""
        text = record.getMessage()
        if "device was lost" in text and "Destroyed" not in text:
            self.lost = _printable(text.partition("\n")[2] or text)


def adapters() -> list[Adapter]:
    """The devices of this machine, those to be preferred first; none where there are no drivers. DeviceError without wgpu."""
    wgpu, version = _wgpu()
    with _quiet_drivers():
        try:
            found = wgpu.gpu.enumerate_adapters_sync()
        except Exception as error:   # whatever the drivers have against it
            raise DeviceError(f"the GPU drivers cannot be asked: {_printable(str(error))}") from None
    return sorted((Adapter(_facts(native, version), native) for native in found), key=_rank)


def choose(found: list[Adapter], name: str | None) -> Adapter:
    """The adapter called so, or without a name the best of those that need none. UsageError for a name that fits none, DeviceError where there is none."""
    if name is None:
        fitting = [adapter for adapter in found if adapter.facts.by_default]
        if not fitting:
            only = ", ".join(adapter.facts.summary for adapter in found)
            raise DeviceError(f"no GPU that can be used without naming it: {only}" if only else "no GPU, or no driver for it")
        return fitting[0]
    fitting = [adapter for adapter in found if adapter.facts.is_called(name)]
    if not fitting:
        known = "; ".join(adapter.facts.summary for adapter in found) or "none"
        raise UsageError(f"no device is called {name[:60]!a}; there are: {known}")
    return fitting[0]


def open_device(name: str | None = None) -> Device:
    """Open a device with all of its limits and those of FEATURES that it has. Errors: those of `choose`, DeviceError where it cannot be opened."""
    return open_adapter(choose(adapters(), name))


def open_adapter(adapter: Adapter) -> Device:
    """Open this one."""
    journal = Journal()
    journal.attach(logging.getLogger("wgpu"))   # which wgpu has made, of a class of its own
    wanted = [feature for feature in FEATURES if feature in adapter.facts.features]
    with _quiet_drivers():
        try:
            native = adapter.native.request_device_sync(required_features=wanted, required_limits=dict(adapter.native.limits))
        except Exception as error:   # whatever the driver has against it
            raise DeviceError(f"{adapter.facts.summary} cannot be opened: {_printable(str(error))}") from None
    facts = adapter.facts
    opened = Facts(facts.name, facts.kind, facts.driver, facts.backend, facts.wgpu, dict(native.limits), frozenset(native.features))
    return Device(native, opened, journal)


def _wgpu() -> tuple[Any, str]:
    """The package and its version, with that of the library inside."""
    try:
        import wgpu
        from wgpu.backends import wgpu_native as library
    except (ImportError, OSError, RuntimeError) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "wgpu"
        why = "wgpu is not installed; pip install 'edgerun[gpu]'" if missing else f"wgpu cannot be used here: {_printable(str(error))}"
        raise DeviceError(why) from None
    return wgpu, f"{wgpu.__version__} (wgpu-native {'.'.join(map(str, library.lib_version_info))})"


def _facts(native: Any, version: str) -> Facts:
    said = dict(native.info)
    words = {key: _printable(str(said.get(key) or "")) for key in ("device", "vendor", "description", "backend_type")}
    return Facts(
        name=words["device"] or words["vendor"] or "unnamed",
        kind=_KINDS.get(said.get("adapter_type", ""), "unknown"),
        driver=words["description"],
        backend=words["backend_type"],
        wgpu=version,
        limits=dict(native.limits),
        features=frozenset(native.features),
    )


def _rank(adapter: Adapter) -> tuple[int, int]:
    backend = adapter.facts.backend
    return _ORDER.index(adapter.facts.kind), _BACKENDS.index(backend) if backend in _BACKENDS else len(_BACKENDS)


def _printable(text: str) -> str:
    """Words of a driver as they may be shown: one short line."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else "?" for c in line)[:200]


@contextlib.contextmanager
def _quiet_drivers() -> Iterator[None]:
    """Some drivers complain on stderr where XDG_RUNTIME_DIR is not set, though they do not use it."""
    if os.name != "posix" or "XDG_RUNTIME_DIR" in os.environ:
        yield
        return
    os.environ["XDG_RUNTIME_DIR"] = tempfile.gettempdir()
    try:
        yield
    finally:
        os.environ.pop("XDG_RUNTIME_DIR", None)
