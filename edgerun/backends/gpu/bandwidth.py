"""Bytes per second that a device copies, and that it reads from weights while it multiplies one row. Measures what is there; knows no kernel."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from edgerun.backends.gpu.device import Device
from edgerun.backends.gpu.executor import GpuExecutor
from edgerun.dataclass import dataclass
from edgerun.formats import by_name
from edgerun.graph import ops
from edgerun.graph.ops import View
from edgerun.graph.program import Program

FORMATS = ("Q4_K", "Q6_K", "Q8_0")   # what most model files are in
ROOM = 256 << 20      # bytes to copy, and of weights: more than a cache holds
SIDE = 4096           # rows and columns of a matrix
SOFTWARE = (8 << 20, 1024)   # both for a software device, which has no time for more
SHORTEST = 0.02       # seconds: shorter passes would measure the way there and back
_PASSES = 3
_STORAGE, _SOURCE, _TARGET = 0x80, 0x4, 0x8   # WebGPU's buffer usages

def measure(device: Device) -> dict[str, float]:
    """Figures by what was done: "copy" counts bytes read and written, "matvec Q4_K" those of the weights. Takes a second or two."""
    room, side = SOFTWARE if device.facts.kind == "software" else (ROOM, SIDE)
    found = {"copy": _copying(device, min(room, device.facts.limits["max-buffer-size"] // 4 * 4))}
    return found | {f"matvec {name}": _multiplying(device, name, room, side) for name in FORMATS}

def _copying(device: Device, nbytes: int) -> float:
    native = device.wgpu
    source, target = (native.create_buffer(size=nbytes, usage=_STORAGE | _SOURCE | _TARGET) for _ in range(2))

    def run(times: int) -> None:
        encoder = native.create_command_encoder()
        for _ in range(times):
            encoder.copy_buffer_to_buffer(source, 0, target, 0, nbytes)
        native.queue.submit([encoder.finish()])
        native.queue.read_buffer(target, 0, 4)   # waits

    return rate(run, 2 * nbytes)

def _multiplying(device: Device, name: str, room: int, side: int) -> float:
    matrices = [Even(f"w{i}", name, side) for i in range(max(1, room // (by_name(name).packing.nbytes(side, side))))]
    x, y = View("x", 0, side), View("y", 0, side)
    products = [ops.Linear(x, y, (matrix.name,), (None,)) for matrix in matrices]
    program = Program((ops.Embed(x, "w0"), *products), {"x": side, "y": side}, (), frozenset(m.name for m in matrices), side, "y")
    executor = GpuExecutor(program, {m.name: m for m in matrices}, device, pages=1, max_rows=1, threads=1, kv="f16", progress=None)
    try:
        return rate(executor.repeat, sum(m.nbytes for m in matrices))
    finally:
        executor.close()

@dataclass(frozen=True)
class Even:
    """A square matrix of a format in which all weights are alike; what they are is all one to the clock."""

    name: str
    format: str
    side: int

    @property
    def shape(self) -> tuple[int, int]:
        """See `Tensor`."""
        return self.side, self.side

    @property
    def type(self) -> int:
        """See `Tensor`."""
        return by_name(self.format).id

    @property
    def nbytes(self) -> int:
        """See `Tensor`."""
        return self.side * self._row

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """See `Tensor`."""
        return np.full((len(range(self.side)[start:stop]), self._row), 0x11, np.uint8)

    @property
    def _row(self) -> int:
        kind = by_name(self.format)
        return self.side // kind.block * kind.nbytes

def rate(run: Callable[[int], Any], nbytes: int) -> float:
    """The best of a few passes; run(times) does it so many times and waits, nbytes: of one time."""
    run(1)   # the first time is slower: memory is made, kernels are compiled
    times, best = 1, 0.0
    for _ in range(_PASSES):
        while True:
            begun = perf_counter()
            run(times)
            took = perf_counter() - begun
            best = max(best, times * nbytes / took)
            if took >= SHORTEST or times >= 1 << 10:
                break
            times *= 4
    return best
