"""A tensor of floats as its Q8_0, made as it is read: for what has to be measured often. A matrix of floats takes several times the arithmetic.

Of a model in 8 bits the same sizes of inputs and the same sensitivities are found. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgerun.formats import by_id, by_name
from edgerun.gguf.tensor import Tensor
from quant.recipes import quantizable

if TYPE_CHECKING:
    import numpy as np

_FLOATS = frozenset({"F32", "F16", "BF16"})


@dataclass(frozen=True)
class Light(Tensor):
    """`heavy` in Q8_0; offset and file are its own."""

    heavy: Tensor = field(repr=False, kw_only=True)

    @classmethod
    def of(cls, heavy: Tensor) -> Light:
        """One whose rows divide by the blocks."""
        kind = by_name("Q8_0")
        return cls(heavy.name, heavy.shape, kind.id, heavy.rows * kind.row_bytes(heavy.shape[-1]), heavy.offset, heavy.file, heavy=heavy)

    @property
    def is_placed(self) -> bool:
        """Its bytes are in no file."""
        return False

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start:stop, as `Tensor.read` gives them."""
        return by_id(self.type).quantize(by_id(self.heavy.type).dequantize(self.heavy.read(start, stop)))


def lightened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, matrices of floats in Q8_0."""
    block = by_name("Q8_0").block
    return {
        name: Light.of(tensor) if tensor.type_name in _FLOATS and quantizable(name, tensor.shape) and tensor.shape[-1] % block == 0 else tensor
        for name, tensor in tensors.items()
    }
