"""Low-rank adapters (arXiv:2106.09685) in llama.cpp's file form, opened beside a model. Knows the form and which tensors fit; no op.

    general.type = adapter, adapter.type = lora, general.architecture: of the models it is for
    adapter.lora.alpha: B A is multiplied by alpha / rank; 0 for 1
    NAME.lora_a [rank, cols], NAME.lora_b [rows, rank]: what is added to tensor NAME of the model, stacks of them to a stack
    token_embd.weight.lora_a [rows, rank], .lora_b [cols, rank]: the other way round

The form is defined by https://github.com/ggml-org/llama.cpp/blob/master/src/llama-adapter.cpp. Files are not trusted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgerun.errors import ModelError, Unsupported, UsageError
from edgerun.gguf import GGUF
from edgerun.gguf.file import shown
from edgerun.gguf.tensor import Tensor
from edgerun.graph.adapted import Pair

if TYPE_CHECKING:
    import numpy as np

_A, _B = ".lora_a", ".lora_b"
_TABLE = "token_embd.weight"   # how the name ends of a table whose rows are looked up
_LARGEST = 1e6                 # of a scale


def is_adapter(file: GGUF) -> bool:
    """Whether a file says that it is an adapter, not a model."""
    return file.metadata.get("general.type") == "adapter"


@dataclass(frozen=True)
class Adapter:
    """An open adapter. pairs: its A and B by the tensor of the model; alpha: as in the file; scale: what B A is multiplied by besides."""

    file: GGUF
    architecture: str
    alpha: float
    pairs: dict[str, tuple[Tensor, Tensor]]
    scale: float = 1.0

    @property
    def name(self) -> str:
        """Its file, fit for a message."""
        return shown(str(self.file.path), 1000)

    @property
    def ranks(self) -> list[int]:
        """Those of its pairs, each once, in order."""
        return sorted({b.shape[-1] for _, b in self.pairs.values()})

    @classmethod
    def of(cls, file: GGUF, scale: float = 1.0) -> Adapter:
        """What an open file holds. UsageError for a scale that is none, ModelError for a file that is no sound adapter, Unsupported for another kind."""
        name, metadata = shown(str(file.path), 1000), file.metadata
        if not abs(scale) <= _LARGEST:
            raise UsageError(f"{name}: the scale {scale} is not a number up to {_LARGEST:g}")
        if not is_adapter(file):
            raise ModelError(f"{name}: is not an adapter (general.type is {shown(str(metadata.get('general.type')))}); edgerun convert makes one of a PEFT folder")
        kind = metadata.str("adapter.type", None)
        if kind != "lora":
            raise Unsupported(f"{name}: is an adapter of type {shown(str(kind))}; edgerun applies lora")
        if "adapter.alora.invocation_tokens" in metadata:
            raise Unsupported(f"{name}: is to be applied behind certain tokens only (aLoRA), which edgerun does not do")
        return cls(file, metadata.str("general.architecture"), metadata.float("adapter.lora.alpha", 0.0), _pairs(name, file.tensors), scale)

    def made_for(self, kind: str) -> bool:
        """Whether it is for models of that architecture."""
        return kind == self.architecture

    def factor(self, target: str) -> float:
        """What B A of a tensor is multiplied by."""
        rank = self.pairs[target][1].shape[-1]
        return self.scale * (self.alpha / rank if self.alpha else 1.0)


def _pairs(name: str, tensors: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B by what they adapt; only names, and ranks that agree."""
    targets = dict.fromkeys(key[: -len(_A)] for key in tensors if key.endswith((_A, _B)))
    if other := next((key for key in tensors if not key.endswith((_A, _B))), None):
        raise Unsupported(f"{name}: has tensor {shown(other)} besides pairs of {_A} and {_B}; what it stands for would be left out")
    if not targets:
        raise ModelError(f"{name}: adapts no tensor")
    pairs = {}
    for target in targets:
        a, b = tensors.get(target + _A), tensors.get(target + _B)
        if a is None or b is None:
            raise ModelError(f"{name}: {shown(target)} has only one of {_A} and {_B}; convert the adapter again")
        rank = a.shape[-1] if target.endswith(_TABLE) else a.shape[-2] if len(a.shape) > 1 else 0
        if len(a.shape) != len(b.shape) or rank != b.shape[-1]:
            raise ModelError(f"{name}: {shown(target)} has {_A} {list(a.shape)} and {_B} {list(b.shape)}, which have no rank in common")
        pairs[target] = a, b
    return pairs


@dataclass(frozen=True)
class Side:
    """The A or the B of all adapters of one tensor as one float32 tensor, ranks one behind the other.

    factors: of each part. down: whether ranks lie along the rows of each matrix (of A), else along the columns.
    """

    name: str
    shape: tuple[int, ...]
    parts: tuple[Tensor, ...] = field(repr=False)
    factors: tuple[float, ...] = ()
    down: bool = False
    type: int = 0   # F32

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return 4 * math.prod(self.shape)

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start:stop as uint8 [rows, bytes per row], as `gguf.Tensor.read` gives them."""
        import numpy as np

        stop = math.prod(self.shape[:-1]) if stop is None else stop
        pieces = self._down(start, stop) if self.down else [np.concatenate([_floats(part, start, stop) * np.float32(f) for part, f in self._factored()], 1)]
        return np.ascontiguousarray(np.concatenate(pieces) if len(pieces) != 1 else pieces[0], np.float32).view(np.uint8)

    def _factored(self) -> list[tuple[Tensor, float]]:
        return list(zip(self.parts, self.factors or (1.0,) * len(self.parts), strict=True))

    def _down(self, start: int, stop: int) -> list[np.ndarray]:
        """The rows where each matrix has those of all parts."""
        pieces, at, rank = [_floats(self.parts[0], 0, 0)], start, self.shape[-2]
        while at < stop:
            matrix, row = divmod(at, rank)
            for part in self.parts:
                if row < part.shape[-2]:
                    count = min(part.shape[-2] - row, stop - at)
                    first = matrix * part.shape[-2] + row
                    pieces.append(_floats(part, first, first + count))
                    at += count
                    break
                row -= part.shape[-2]
        return pieces


def _floats(tensor: Tensor, start: int, stop: int) -> np.ndarray:
    """float32 [rows, columns]."""
    from edgerun.formats import by_id

    return by_id(tensor.type).dequantize(tensor.read(start, stop))


def joined(adapters: Sequence[Adapter], architecture: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, Pair], dict[str, Side]]:
    """What the adapters add to a model whose tensors have these shapes: pairs for `graph.adapted`, and their tensors by name.

    ModelError, with the adapter's name, for one that was made for another model.
    """
    found: dict[str, list[Adapter]] = {}
    for adapter in adapters:
        if not adapter.made_for(architecture):
            raise ModelError(f"{adapter.name}: adapts models of {shown(adapter.architecture)}, and this one is of {architecture}")
        for target, (a, b) in adapter.pairs.items():
            if target not in shapes:
                raise ModelError(f"{adapter.name}: adapts tensor {shown(target)}, which this model does not have; it was made for another one")
            wanted = _adapted_shape(target, a, b)
            if wanted != tuple(shapes[target]):
                raise ModelError(f"{adapter.name}: fits a {shown(target)} of shape {wanted and list(wanted)}, and this model's has {list(shapes[target])}")
            found.setdefault(target, []).append(adapter)
    pairs, sides = {}, {}
    for target, users in found.items():
        parts = [adapter.pairs[target] for adapter in users]
        rank = sum(b.shape[-1] for _, b in parts)
        table = target.endswith(_TABLE)
        (a, b), down = parts[0], not table
        a_shape = (*a.shape[:-2], rank, a.shape[-1]) if down else (*a.shape[:-1], rank)
        sides[target + _A] = Side(target + _A, a_shape, tuple(a for a, _ in parts), down=down)
        sides[target + _B] = Side(target + _B, (*b.shape[:-1], rank), tuple(b for _, b in parts), tuple(user.factor(target) for user in users))
        pairs[target] = Pair(target + _A, target + _B, rank)
    return pairs, sides


def _adapted_shape(target: str, a: Tensor, b: Tensor) -> tuple[int, ...] | None:
    """The shape of the tensor that a pair fits; None where it fits none."""
    if target.endswith(_TABLE):
        return (a.shape[0], b.shape[0]) if len(a.shape) == 2 else None
    return (*b.shape[:-1], a.shape[-1]) if a.shape[:-2] == b.shape[:-2] and 2 <= len(a.shape) <= 3 else None
