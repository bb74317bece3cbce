"""Compiled kernels of a device, and the parameters and bindings of dispatches. Knows no op.

Every kernel has the same bindings (`wgsl/common.wgsl`), so a bind group is what a dispatch reads and writes, and nothing is
bound while a step runs. Parameters lie one behind the other in uniform buffers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgerun.backends.gpu.queue import UNIFORM, Queue
from edgerun.backends.gpu.source import Source
from edgerun.dataclass import dataclass

NONE = 0xFFFFFFFF   # an offset that stands for nothing
_KINDS = ("storage", "read-only-storage", "read-only-storage", "uniform", "read-only-storage", "storage", "storage", "storage")
_PER_BUFFER = 64
_COMPUTE = 4   # wgpu.ShaderStage.COMPUTE


@dataclass(frozen=True)
class Range:
    """Bytes of a buffer, from `start` up to `stop`."""

    buffer: Any
    start: int
    stop: int


def whole(buffer: Any) -> Range:
    """All of a buffer."""
    return Range(buffer, 0, buffer.size)


class Pipelines:
    """shared: the buffers of bindings 0, 1 and 2. A binding that a kernel does not use gets a small buffer of its own."""

    def __init__(self, queue: Queue, shared: dict[int, Any]) -> None:
        self._queue, self._native = queue, queue.device.wgpu
        entries = [{"binding": i, "visibility": _COMPUTE, "buffer": {"type": kind}} for i, kind in enumerate(_KINDS)]
        self._layout = self._native.create_bind_group_layout(entries=entries)
        self._outline = self._native.create_pipeline_layout(bind_group_layouts=[self._layout])
        self._made: dict[Source, Any] = {}
        self._groups: dict[tuple[bytes, frozenset[tuple[int, Range]]], Any] = {}
        unused = {i: queue.buffer(16, "nothing") for i in (4, 5, 6, 7)}
        self.arena = shared[0]
        self._bound = {i: whole(b) for i, b in (unused | shared).items()}
        self._align = max(256, queue.device.facts.limits["min-uniform-buffer-offset-alignment"])
        self._uniforms: list[tuple[Any, np.ndarray]] = []
        self._next = _PER_BUFFER

    def pipeline(self, source: Source) -> Any:
        """The compiled kernel."""
        if source not in self._made:
            self._made[source] = self._queue.guarded(lambda: self._compiled(source))
        return self._made[source]

    def group(self, source: Source, values: dict[str, int | float], own: dict[int, Range]) -> Any:
        """What a dispatch of the kernel is bound to: `values` for its parameters, `own` ranges by binding."""
        data = pack(source, values)
        key = data.tobytes(), frozenset(own.items())
        if key not in self._groups:   # kernels for different numbers of rows share one
            self._groups[key] = self._group(data, own)
        return self._groups[key]

    def _group(self, data: np.ndarray, own: dict[int, Range]) -> Any:
        uniform, at = self._parameters(data)
        bound = self._bound | own | {3: Range(uniform, at, at + 256)}
        entries = [{"binding": i, "resource": {"buffer": r.buffer, "offset": r.start, "size": r.stop - r.start}} for i, r in bound.items()]
        return self._queue.guarded(lambda: self._native.create_bind_group(layout=self._layout, entries=entries))

    def upload(self) -> None:
        """Give the device the parameters of all groups made so far."""
        for buffer, data in self._uniforms:
            self._queue.write(buffer, 0, data)

    def _compiled(self, source: Source) -> Any:
        module = self._native.create_shader_module(label=source.name, code=source.text)
        return self._native.create_compute_pipeline(layout=self._outline, compute={"module": module, "entry_point": "main"})

    def _parameters(self, data: np.ndarray) -> tuple[Any, int]:
        if self._next == _PER_BUFFER:
            nbytes = _PER_BUFFER * self._align
            self._uniforms.append((self._queue.buffer(nbytes, "parameters", UNIFORM), np.zeros(nbytes, np.uint8)))
            self._next = 0
        buffer, room = self._uniforms[-1]
        at = self._next * self._align
        room[at : at + data.nbytes] = data.view(np.uint8)
        self._next += 1
        return buffer, at


def pack(source: Source, values: dict[str, int | float]) -> np.ndarray:
    """The parameters of a kernel as the words of its struct; every field has to be given, and fit."""
    assert values.keys() == {name for name, _ in source.fields}, (source.name, values.keys() ^ {name for name, _ in source.fields})
    words = np.zeros(len(source.fields), np.uint32)
    for i, (name, kind) in enumerate(source.fields):
        if kind == "f32":
            words[i : i + 1].view(np.float32)[0] = values[name]
        else:
            assert 0 <= values[name] <= NONE, (source.name, name, values[name])
            words[i] = values[name]
    return words
