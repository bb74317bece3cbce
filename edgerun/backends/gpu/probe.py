"""Every kernel on an open device, tried at a small shape: what it computes next to NumPy. Keeps nothing, and takes some seconds.

First what kernels are made of, number by number, so that a fault has a name; then small programs next to the reference backend.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from edgerun.backends import reference
from edgerun.backends.executor import PAGE, Batch, Tensor
from edgerun.backends.gpu.device import Device
from edgerun.backends.gpu.executor import GpuExecutor
from edgerun.backends.gpu.layout import LONG
from edgerun.backends.gpu.primitives import primitives
from edgerun.formats import all_formats, by_name
from edgerun.graph import ops
from edgerun.graph.ops import View
from edgerun.graph.program import Cache, Program

LIMITS = {"f32": 1e-4, "f16": 5e-3}   # by what keys and values are kept as: largest errors, of the largest number
_WIDTH, _VOCAB, _ROWS = 256, 12, 70
_PAGES = LONG // PAGE + 2


@dataclass
class Values:
    """A tensor made of numbers, as a backend sees one."""

    name: str
    shape: tuple[int, ...]
    type: int
    data: np.ndarray

    @classmethod
    def of(cls, name: str, values: np.ndarray, fmt: str = "F32") -> Values:
        """Numbers in a format."""
        kind = by_name(fmt)
        return cls(name, values.shape, kind.id, kind.quantize(values.reshape(-1, values.shape[-1]).astype(np.float32)))

    @property
    def nbytes(self) -> int:
        """Bytes in the format."""
        return self.data.nbytes

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Some rows."""
        return self.data[start:stop]


@dataclass
class Trial:
    """A program in the making whose parts each have columns of the result: (name, first, after the last)."""

    ops: list[ops.Op] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    buffers: dict[str, int] = field(default_factory=lambda: {"x": _WIDTH})
    caches: list[Cache] = field(default_factory=list)
    parts: list[tuple[str, int, int]] = field(default_factory=list)
    width: int = 0

    def out(self, name: str, width: int) -> View:
        """Columns of the result for a part."""
        self.parts.append((name, self.width, self.width + width))
        self.width += width
        return View("logits", self.width - width, width)

    def program(self) -> Program:
        """All parts, behind a table of random rows."""
        self.tensors["table"] = Values.of("table", np.random.default_rng(1).standard_normal((_VOCAB, _WIDTH)))
        embed = ops.Embed(View("x", 0, _WIDTH), "table")
        return Program((embed, *self.ops), self.buffers | {"logits": self.width}, tuple(self.caches), frozenset(self.tensors), self.width)


def check(device: Device) -> list[str]:
    """What the device computes wrongly, a line each; nothing where all is right."""
    faults = list(primitives(device))
    if faults:
        return faults
    for trial in (_products(), _rows(), _attention()):
        faults += _compared(trial, device)
    return faults + list(_compared(_attention(), device, "f16"))


def _compared(trial: Trial, device: Device, kv: str = "f32") -> Iterator[str]:
    program = trial.program()
    truth = reference.compile(program, trial.tensors, pages=_PAGES)
    executor = GpuExecutor(program, trial.tensors, device, pages=_PAGES, max_rows=_ROWS, threads=1, kv=kv, progress=None)
    for batch in _batches():
        want, got = truth.step(batch), executor.step(batch)
        for name, start, stop in trial.parts:
            w, g = want[:, start:stop], got[:, start:stop]
            error = float(np.abs(w - g).max() / max(np.abs(w).max(), 1e-30))
            if not error <= LIMITS[kv]:   # NaN too
                yield f"{name}{' over f16' if kv == 'f16' else ''}, {len(w)} rows from position {batch.positions[0]} on: error {error:.0e}"
    executor.close()


def _batches() -> Iterator[Batch]:
    """Many rows, a few, and one, of one sequence; then one so far on that its attention is shared, over a memory of zeros mostly."""
    tokens = np.random.default_rng(2).integers(0, _VOCAB, _ROWS + 7).astype(np.int32)
    table = np.array([[1, 0, *range(2, _PAGES)]], np.int32)
    far = _PAGES * PAGE - 3
    for start, stop, position in ((0, _ROWS, 0), (_ROWS, _ROWS + 5, _ROWS), (_ROWS + 5, _ROWS + 6, _ROWS + 5), (_ROWS + 6, _ROWS + 7, far)):
        n = stop - start
        yield Batch(tokens[start:stop], np.arange(position, position + n, dtype=np.int32), np.zeros(n, np.int32), table, np.arange(n, dtype=np.int32))


def _products() -> Trial:
    """A matrix of each format, and stacks of some."""
    trial, random = Trial(), np.random.default_rng(3)
    x = View("x", 0, _WIDTH)
    for name in sorted(fmt.name for fmt in all_formats().values()):
        trial.tensors[name] = Values.of(name, random.standard_normal((24, _WIDTH)), name)
        trial.ops.append(ops.Linear(x, trial.out(f"{name} product", 24), (name,), (None,)))
    choice = View("choice", 0, 4)
    trial.buffers |= {"choice": 4}
    trial.ops.append(ops.Route(x.part(0, 6), choice, 2, "softmax", 0.0))
    for name in ("Q4_K", "MXFP4"):
        stack = f"{name} stack"
        trial.tensors[stack] = Values.of(stack, random.standard_normal((6, 24, _WIDTH)), name)
        trial.ops.append(ops.Experts(x, choice, trial.out(f"{name} experts", 48), 6, _WIDTH, (stack,), (None,)))
    return trial


def _rows() -> Trial:
    """What works on each row by itself."""
    trial, x, y = Trial(), View("x", 0, 96), View("x", 96, 96)
    trial.tensors |= {"w": Values.of("w", np.random.default_rng(4).standard_normal(96)), "f": Values.of("f", np.random.default_rng(5).standard_normal(6))}
    trial.ops += [
        ops.Norm(x, trial.out("rms norm", 96), "w", 1e-5),
        ops.Norm(x, trial.out("layer norm", 96), "w", 1e-5, "layer", bias="w"),
        ops.Add(x, y, trial.out("add", 96)),
        ops.Product(x, y, trial.out("product", 96)),
        ops.ScaleColumns(x, trial.out("scale columns", 96), "w"),
        ops.Scale(x, trial.out("scale", 96), 3.0),
        ops.Clamp(x, trial.out("clamp", 96), 0.5),
        ops.Softcap(x, trial.out("softcap", 96), 0.1),
        ops.ClampedGate(x, y, trial.out("clamped gate", 96), 1.7, 1.0),
        ops.Mix(x, trial.out("mix", 32), None, y.part(0, 32)),
    ]
    wide = View("wide", 0, 96)
    trial.buffers["wide"] = 96
    trial.ops.append(ops.Scale(y, wide, 40.0))   # so far out that exp and tanh could overflow
    activations: tuple[ops.Activation, ...] = ("silu", "gelu", "gelu_erf", "relu", "relu2", "sigmoid")
    for activation in activations:
        trial.ops.append(ops.Gate(wide, x, trial.out(f"{activation} gate", 96), activation))
    choice = View("choice", 0, 6)
    trial.buffers["choice"] = 6
    trial.ops += [ops.Route(y.part(0, 40), choice, 3, "sigmoid", 1e-20), ops.Scale(choice, trial.out("route", 6), 1.0)]
    trial.ops.append(ops.Weigh(x, choice, trial.out("weigh", 96)))
    return trial


def _attention() -> Trial:
    """Turned queries and keys over pages, with everything a score may go through."""
    trial, frequencies = Trial(), tuple(0.5**i for i in range(8))
    q, k, v = View("x", 0, 128), View("x", 128, 64), View("x", 192, 64)
    trial.tensors["sinks"] = Values.of("sinks", np.random.default_rng(6).standard_normal(4))
    trial.ops += [ops.Rope(q, 4, frequencies, "halves"), ops.Rope(k, 2, frequencies, "neighbours", 1.1), ops.Store(k, v, 0)]
    settings: dict[str, dict] = {"attention": {}, "window": {"window": 20}, "softcap and sinks": {"softcap": 2.0, "sinks": "sinks"}}
    for name, more in settings.items():
        trial.caches = [Cache(2, 32, 32)]
        trial.ops.append(ops.Attention(q, trial.out(name, 128), 0, 4, 32**-0.5, **more))
    return trial
