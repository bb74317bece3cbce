"""Experts in MXFP4 (OCP Microscaling Formats, huggingface.co/openai/gpt-oss-20b): the same numbers in GGUF, only their halves move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from quant.convert.checkpoint import Stored

_BLOCK = 32   # weights that share a scale


@dataclass(frozen=True)
class Mxfp4(Stored):
    """A tensor X that the checkpoint has as X_blocks and X_scales; shape in weights, read as GGML's blocks."""

    scales: Stored

    @property
    def parts(self) -> tuple[Stored, ...]:
        """Blocks and scales."""
        return (self, self.scales)

    @property
    def floats(self) -> bool:
        """It holds numbers that a file can hold as they are."""
        return True

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Items start..stop of the stack, uint8 [items, rows, blocks * 17]: a scale and 16 bytes a block.

        Byte j holds weights j and j + 16; in the checkpoint 2j and 2j + 1.
        """
        stop = self.shape[0] if stop is None else stop
        pairs = self._blocks.read(start, stop)
        weights = np.stack([pairs & 15, pairs >> 4], -1).reshape(*pairs.shape[:-1], _BLOCK)
        codes = weights[..., :16] | weights[..., 16:] << 4
        return np.concatenate([self.scales.read(start, stop)[..., None], codes], -1).reshape(stop - start, self.shape[1], -1)

    @property
    def _blocks(self) -> Stored:
        return Stored(self.name, "U8", (*self.scales.shape, _BLOCK // 2), self.file, self.start, self.nbytes)


def joined(tensors: Mapping[str, Stored]) -> dict[str, Stored]:
    """The tensors of a checkpoint with such pairs in one."""
    result = dict(tensors)
    for name, blocks in tensors.items():
        scales = tensors.get(f"{name.removesuffix('_blocks')}_scales")
        if not name.endswith("_blocks") or scales is None:
            continue
        if blocks.dtype == scales.dtype == "U8" and len(scales.shape) == 3 and blocks.shape == (*scales.shape, _BLOCK // 2):
            shape = (*scales.shape[:2], _BLOCK * scales.shape[2])
            result[name] = Mxfp4(name, "MXFP4", shape, blocks.file, blocks.start, blocks.nbytes, scales)
            del result[scales.name]
    return result
