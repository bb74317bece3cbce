"""A model file that was understood but not loaded: what to compute, on which backend, and what that will take."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edgerun.backends.executor import KV_KINDS, PAGE, Executor, MemoryPlan, Tensor
from edgerun.errors import ModelError, Unsupported, UsageError
from edgerun.gguf import GGUF

if TYPE_CHECKING:
    import numpy as np

    from edgerun.adapter import Adapter
    from edgerun.graph.program import Program
    from edgerun.models import Spec

MAX_ROWS = 512   # rows of one step of a decoder; an encoder's hold as long a text as its context
_BACKENDS = {"auto": "cpu", "cpu": "cpu", "reference": "reference"}
_CHOICES = {"backend": tuple(_BACKENDS), "numerics": ("fast", "exact"), "tokenizer": ("default", "strict"), "repack": ("now", "later", "never")}


@dataclass(frozen=True)
class Options:
    """How to compute: see `edgerun.load`. UsageError for a value that is not known.

    kv: a kind of numbers for keys and values, as "f16", or one for the keys and one for the values, as "q8_0:q4_0".
    device: auto, cpu, gpu or a part of the name of one; another backend than auto computes where it does. repack: now;
    later, in the first two steps; never, which leaves weights in the mapping of the file: the last only on the CPU.
    """

    backend: str = "auto"
    numerics: str = "fast"
    kv: str = "f16"
    tokenizer: str = "default"
    device: str = "auto"
    repack: str = "now"

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise UsageError(f"{name} {getattr(self, name)!r} is not known; use one of {', '.join(known)}")
        if not self.device.strip():
            raise UsageError("a device needs a name; use auto, cpu, gpu or a part of its name")
        if self.backend != "auto" and self.device not in ("auto", "cpu"):
            raise UsageError(f"backend {self.backend} computes on the CPU; leave it out, or the device {self.device[:40]!a}")
        if self.repack == "never" and (self.backend == "reference" or self.numerics == "exact" or self.device not in ("auto", "cpu")):
            raise UsageError("only the CPU in fast numerics computes from weights that are not repacked; leave --no-repack (repack=never) out")
        kinds = self.kv.split(":")
        if len(kinds) > 2 or not set(kinds) <= set(KV_KINDS):
            raise UsageError(f"kv {self.kv[:40]!a} is not known; use one of {', '.join(KV_KINDS)}, or two as keys:values")


@dataclass(frozen=True)
class Blueprint:
    """An open model file with its spec and program. max_rows: most rows of one step. backend: the folder of the one that computes.

    added: tensors that the program reads beside the file's.
    """

    file: GGUF
    spec: Spec
    program: Program
    options: Options
    max_rows: int = MAX_ROWS
    backend: str = "cpu"
    added: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, file: GGUF, options: Options, adapters: Sequence[Adapter] = ()) -> Blueprint:
        """Read what the file says about the model. ModelError, with the file's name, when it is not a model that edgerun computes."""
        from edgerun.formats import by_id
        from edgerun.gguf.file import shown
        from edgerun.graph.lower import lower
        from edgerun.graph.selected import selected
        from edgerun.models import spec_from

        def read(name: str) -> np.ndarray:
            tensor = file.tensors[name]
            return by_id(tensor.type).dequantize(tensor.read()).reshape(tensor.shape)

        shapes = {name: tensor.shape for name, tensor in file.tensors.items()}
        try:
            if file.metadata.get("general.type") == "adapter":
                raise Unsupported("is an adapter, not a model: name the model it was made for, and this file with --lora")
            spec = spec_from(file.metadata, shapes, read)
            program = selected(lower(spec, shapes))
        except ModelError as error:
            raise type(error)(f"{shown(str(file.path), 1000)}: {error}") from None
        plain = cls(file, spec, program, options, backend=_BACKENDS[options.backend])
        return plain._adapted(adapters) if adapters else plain

    def _adapted(self, adapters: Sequence[Adapter]) -> Blueprint:
        """The same with what the adapters add. ModelError, with the adapter's name, when one does not fit."""
        from edgerun.adapter import joined
        from edgerun.gguf.file import shown
        from edgerun.graph.adapted import adapted

        shapes = {name: tensor.shape for name, tensor in self.file.tensors.items()}
        pairs, sides = joined(adapters, self.spec.architecture, shapes)
        program, used = adapted(self.program, shapes, pairs)
        if idle := sorted(pairs.keys() - used):
            owner = next(adapter for adapter in adapters if idle[0] in adapter.pairs)
            raise Unsupported(f"{owner.name}: adapts tensor {shown(idle[0])}, which is not a matrix that edgerun can adapt while it runs; merge it with edgerun convert --merge")
        return replace(self, program=program, added=sides)

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """All that the program may read."""
        return {**self.file.tensors, **self.added}

    def plan(self, pages: int) -> MemoryPlan:
        """What the model needs with that many pages of key/value memory."""
        o = self.options
        return self._backend.plan(self.program, self.tensors, pages=pages, max_rows=self._rows(pages), numerics=o.numerics, kv=o.kv, **self._left)

    def compile(self, pages: int, threads: int, progress: Any = None, **more: Any) -> Executor:
        """Load the model and make it ready to run. more: what only its backend takes."""
        o = self.options
        rows = self._rows(pages)
        compiled: Executor = self._backend.compile(
            self.program, self.tensors, pages=pages, max_rows=rows, threads=threads, numerics=o.numerics, kv=o.kv, progress=progress, **self._left, **more
        )
        return compiled

    def warm(self, progress: Any = None) -> int:
        """Compile what the model needs on its backend and keep it, without loading it; how many kernels that were."""
        if not hasattr(self._backend, "warm"):
            return 0
        o = self.options
        compiled: int = self._backend.warm(self.program, self.tensors, max_rows=self.max_rows, numerics=o.numerics, kv=o.kv, progress=progress)
        return compiled

    @property
    def _left(self) -> dict[str, str]:
        """What only the CPU takes."""
        return {"repack": self.options.repack} if self.backend == "cpu" else {}

    @functools.cached_property
    def mapped(self) -> tuple[int, str | None]:
        """Bytes of weights that stay in the file's mapping, and a line for the user where others should but cannot."""
        if self.options.repack != "never":
            return 0, None
        from edgerun.formats import by_id

        stay, others = self._backend.mapped(self.program, self.tensors)
        names, nbytes = sorted({by_id(t.type).name for t in others}), sum(t.nbytes for t in others)
        line = f"weights repacked all the same, as {', '.join(names)} cannot be used from the file's mapping: {nbytes / 1e6:.0f} MB of {len(others)} matrices"
        return sum(t.nbytes for t in stay), line if others else None

    def _rows(self, pages: int) -> int:
        return self.max_rows if self.program.causal else max(self.max_rows, pages * PAGE)

    @property
    def _backend(self) -> ModuleType:
        return importlib.import_module(f"edgerun.backends.{self.backend}")
