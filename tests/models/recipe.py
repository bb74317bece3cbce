"""A tiny model without its weights: metadata, shapes, and the logits expected of it. The weights follow from the tensors' names.

So a golden case is some 10 kB. Numbers are multiples of 2^-23 from Philox, whose stream NumPy keeps for good.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

# (pattern of the name, centre, spread): values are even between centre - spread and centre + spread; the first that fits is taken.
# A spread of None is that of a matrix, whose products then vary by about one.
SPREADS: list[tuple[str, float, float | None]] = [
    ("*norm.bias", 0.0, 0.3),
    ("*norm*.weight", 1.0, 0.5),
    ("*.ssm_a", -1.0, 0.8),
    ("*.ssm_d", 1.0, 0.5),
    ("*.ssm_conv1d.weight", 0.0, 0.8),
    ("*.shortconv.conv.weight", 0.0, 0.8),
    ("*.ssm_dt.bias", -1.0, 1.0),
    ("*.attn_sinks.weight", 0.0, 2.0),
    ("*.bias", 0.0, 0.3),
    ("token_embd.weight", 0.0, 1.7),
    ("position_embd.weight", 0.0, 1.0),
    ("output.weight", 0.0, 0.5),
    ("*", 0.0, None),
]


@dataclass(frozen=True)
class MadeTensor:
    """A float32 tensor in memory: a `backends.executor.Tensor`."""

    name: str
    values: np.ndarray
    type: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def nbytes(self) -> int:
        return self.values.nbytes

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        rows = self.values.reshape(-1, self.values.shape[-1])[start:stop]
        return np.ascontiguousarray(rows).view(np.uint8)


@dataclass(frozen=True)
class Recipe:
    """metadata: of the GGUF file; shapes: slowest dimension first; sequences: (tokens, positions, logits or hidden rows there).

    spreads: rows before those of `SPREADS`; values: tensors that are not random, such as rope_freqs.weight.
    """

    metadata: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    sequences: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    spreads: list[tuple[str, float, float | None]] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)

    def tensors(self) -> dict[str, MadeTensor]:
        """Every tensor of the file."""
        return {name: MadeTensor(name, self._values(name, shape)) for name, shape in self.shapes.items()}

    def _values(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name in self.values:
            return np.array(self.values[name], np.float32).reshape(shape)
        centre, spread = next((c, s) for pattern, c, s in [*self.spreads, *SPREADS] if fnmatch(name, pattern))
        if spread is None:
            spread = 1.2 * (3 / shape[-1]) ** 0.5
        raw = np.random.Philox(key=zlib.crc32(name.encode())).random_raw(int(np.prod(shape))) >> np.uint64(40)
        return (centre + spread * (raw.astype(np.float64) / 2**23 - 1)).astype(np.float32).reshape(shape)

    def save(self, path: Path) -> None:
        """Write the case."""
        about = {"metadata": self.metadata, "shapes": self.shapes, "spreads": self.spreads, "values": self.values}
        arrays = {}
        for i, (tokens, positions, logits) in enumerate(self.sequences):
            arrays |= {f"tokens_{i}": tokens.astype(np.int32), f"pos_{i}": positions.astype(np.int32), f"logits_{i}": logits.astype(np.float32)}
        np.savez_compressed(path, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read what `save` wrote."""
        with np.load(path) as file:
            about = json.loads(file["about"].tobytes())
            count = sum(name.startswith("tokens_") for name in file.files)
            sequences = [(file[f"tokens_{i}"], file[f"pos_{i}"], file[f"logits_{i}"]) for i in range(count)]
        shapes = {name: tuple(shape) for name, shape in about["shapes"].items()}
        return cls(about["metadata"], shapes, sequences, [tuple(row) for row in about["spreads"]], about["values"])
