"""The one place where a device is given work: writes, submits, reads. Knows no kernel.

What a queue refuses ends the process, so nothing here is destroyed by hand or submitted twice, and every size is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from edgerun.backends.gpu.device import Device
from edgerun.dataclass import dataclass
from edgerun.errors import DeviceError, ResourceError

PIECE = 16 << 20   # bytes written at a time before the device is waited for: what is staged stays bounded
STORAGE = "STORAGE|COPY_DST|COPY_SRC"
UNIFORM = "UNIFORM|COPY_DST"

Job = tuple[Any, Any, int, int, int]   # a pipeline, its bind group, workgroups in x, y and z


@dataclass(frozen=True)
class Encoded:
    """Jobs made ready to start; `native` is empty once they were started."""

    native: list[Any]


class Queue:
    """Buffers of a device and the work on them."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._native = device.wgpu
        self._staged = 0
        self._flag = self.buffer(4, "a flag")

    def buffer(self, nbytes: int, what: str, usage: str = STORAGE) -> Any:
        """A buffer of zeros. ResourceError where the device does not give it."""
        limits = self.device.facts.limits
        if nbytes > min(limits["max-buffer-size"], limits["max-storage-buffer-binding-size"]):
            raise ResourceError(f"{what} would take {nbytes / 1e6:.0f} MB in one piece, more than {self.device.facts.name} binds; use the CPU")
        try:
            return self._native.create_buffer(size=-(-max(nbytes, 16) // 16) * 16, usage=usage)
        except Exception as error:   # whatever the driver has against it
            raise ResourceError(f"{self.device.facts.name} cannot give {nbytes / 1e6:.0f} MB for {what}: {_line(error)}") from None

    def write(self, buffer: Any, at: int, data: np.ndarray) -> None:
        """Write bytes, a multiple of 4 of them, to `buffer` from byte `at` on; what is submitted later sees them."""
        flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        assert at % 4 == 0, at
        assert len(flat) % 4 == 0, len(flat)
        assert 0 <= at <= at + len(flat) <= buffer.size, (at, len(flat), buffer.size)
        for start in range(0, len(flat), PIECE):
            piece = flat[start : start + PIECE]
            self.guarded(partial(self._native.queue.write_buffer, buffer, at + start, piece))
            self._staged += len(piece)
            if self._staged >= PIECE:
                self.wait()

    def submit(self, jobs: Iterable[Job]) -> None:
        """Run jobs in their order, each after the one before has ended; returns before they have."""
        self.start(self.encode(jobs))

    def encode(self, jobs: Iterable[Job]) -> Encoded:
        """Jobs made ready to start; what is written until then they see."""
        return Encoded([self.guarded(lambda: self._encoded(jobs))])

    def start(self, work: Encoded) -> None:
        """Run it, once: AssertionError the second time, where the device would end the process."""
        assert work.native, "what was encoded runs once"
        native = [work.native.pop()]
        self.guarded(lambda: self._native.queue.submit(native))

    def wait(self) -> None:
        """Until all that was written and submitted is done."""
        self.read(self._flag, 0, 4)
        self._staged = 0

    def read(self, buffer: Any, at: int, nbytes: int) -> np.ndarray:
        """Bytes of a buffer, once what was submitted before is done."""
        assert at % 4 == 0, at
        assert nbytes % 4 == 0, nbytes
        assert 0 <= at < at + nbytes <= buffer.size, (at, nbytes, buffer.size)
        return np.frombuffer(self.guarded(lambda: self._native.queue.read_buffer(buffer, at, nbytes)), np.uint8)

    def _encoded(self, jobs: Iterable[Job]) -> Any:
        encoder = self._native.create_command_encoder()
        run = encoder.begin_compute_pass()
        take, bind, start = run.set_pipeline, run.set_bind_group, run.dispatch_workgroups
        for pipeline, group, x, y, z in jobs:
            take(pipeline)
            bind(0, group)
            start(x, y, z)
        run.end()
        return encoder.finish()

    def _alive(self) -> None:
        if self.device.lost:
            raise DeviceError(f"the GPU {self.device.facts.name} was lost: {self.device.lost}; start again, or with --device cpu")

    def guarded(self, work: Callable[[], Any]) -> Any:
        """Do it; DeviceError where the device is lost, or stops."""
        self._alive()
        try:
            return work()
        except Exception as error:
            if "device is lost" in str(error):
                self.device.lose(str(error))
            self._alive()
            raise DeviceError(f"the GPU {self.device.facts.name} stopped: {_line(error)}; start again, or with --device cpu") from error


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return "".join(c if c.isprintable() else "?" for c in text)[:200]
