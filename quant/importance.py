"""How much each column of each matrix matters: the mean square of what is multiplied with it, from llama.cpp's two file forms.

    GGUF: for each matrix NAME.in_sum2 [matrices of a stack, columns] and NAME.counts [matrices]; their quotient is the mean square.
    .dat: i32 entries | entries: i32 length, name, i32 calls, i32 values, f32 values; then i32 chunks and the name of the text.

Knows no model; the file is not trusted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from edgerun.errors import ModelError, UsageError
from edgerun.gguf import open_gguf
from edgerun.gguf.writer import GGUFWriter

_SUMS, _COUNTS = ".in_sum2", ".counts"
_LARGEST = 1 << 30   # bytes of a .dat file


class Importance:
    """float32 [matrices of a stack, columns] by the name of the matrix; mean squares, never negative."""

    def __init__(self, means: Mapping[str, np.ndarray]) -> None:
        self._means = dict(means)

    def __len__(self) -> int:
        return len(self._means)

    def __iter__(self) -> Iterator[str]:
        return iter(self._means)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._means[name]

    def __contains__(self, name: str) -> bool:
        return name in self._means

    def of(self, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
        """float32 [shape[0] for a stack, else 1, columns]; None where nothing is known. ModelError for another shape."""
        found = self._means.get(name)
        if found is None:
            return None
        stack = shape[0] if len(shape) > 2 else 1
        if found.shape != (stack, shape[-1]):
            raise ModelError(f"the importance of {name!a} is of {list(found.shape)} columns, the matrix has {[stack, shape[-1]]}: it was made with another model")
        return found

    @classmethod
    def of_sums(cls, sums: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Importance:
        """Of sums of squares, [matrices, columns], and how many rows each is of, [matrices]."""
        return cls({name: _means(squares, counts.reshape(-1, 1)) for name, (squares, counts) in sums.items()})

    @classmethod
    def read(cls, path: Path) -> Importance:
        """A file of either form. UsageError when it cannot be read, ModelError when it is damaged."""
        try:
            with open(path, "rb") as file:
                is_gguf = file.read(4) == b"GGUF"
        except OSError as error:
            raise UsageError(f"the importance matrix {str(path)!a} cannot be read: {error.strerror}") from None
        found = _from_gguf(path) if is_gguf else _from_dat(path)
        for name, means in found.items():
            if not (np.isfinite(means).all() and (means >= 0).all()):
                raise ModelError(f"the importance matrix {str(path)!a} holds a value for {name!a} that is no mean square; make it again")
        return cls(found)


def write(path: Path, sums: Mapping[str, tuple[np.ndarray, np.ndarray]], text: str, chunks: int, chunk: int) -> None:
    """Write sums of squares, float64 [matrices, columns], and how many rows each is of, [matrices], in the GGUF form."""
    with GGUFWriter(path) as writer:
        writer.add("general.type", "imatrix")
        writer.add("imatrix.datasets", [text])
        writer.add("imatrix.chunk_count", chunks, "u32")
        writer.add("imatrix.chunk_size", chunk, "u32")
        for name, (squares, counts) in sums.items():
            writer.add_tensor(name + _SUMS, np.ascontiguousarray(squares, np.float32))
            writer.add_tensor(name + _COUNTS, np.ascontiguousarray(counts, np.float32).reshape(-1, 1))


def _from_gguf(path: Path) -> dict[str, np.ndarray]:
    with open_gguf(path) as file:
        if file.metadata.str("general.type", "") != "imatrix":
            raise ModelError(f"{str(path)!a} is a GGUF file, but no importance matrix")

        def values(name: str) -> np.ndarray:
            tensor = file.tensors.get(name)
            if tensor is None or tensor.type_name != "F32":
                raise ModelError(f"the importance matrix {str(path)!a} lacks {name!a}; make it again")
            return tensor.read().view(np.float32).reshape(tensor.shape)

        means = {}
        for name in file.tensors:
            if name.endswith(_SUMS):
                squares, counts = values(name), values(name.removesuffix(_SUMS) + _COUNTS).reshape(-1, 1)
                means[name.removesuffix(_SUMS)] = _means(squares.reshape(len(counts), -1), counts)
    return means


def _means(squares: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sums over counts. The columns of an expert that was never used matter evenly."""
    return np.where(counts > 0, squares / np.maximum(counts, 1), 1).astype(np.float32)


def _from_dat(path: Path) -> dict[str, np.ndarray]:
    if path.stat().st_size > _LARGEST:
        raise ModelError(f"{str(path)!a} is too large for an importance matrix")
    data, at, means = path.read_bytes(), 0, {}

    def take(size: int) -> bytes:
        nonlocal at
        if size < 0 or at + size > len(data):
            raise ModelError(f"{str(path)!a} is no importance matrix, or was cut short at byte {at}")
        at += size
        return data[at - size : at]

    def number() -> int:
        return int(struct.unpack("<i", take(4))[0])

    for _ in range(number()):
        name = take(number()).decode("utf-8", "replace")
        calls, count = number(), number()
        values = np.frombuffer(take(4 * count), np.float32)
        means[name] = (values / max(calls, 1)).reshape(1, -1)
    if not means:
        raise ModelError(f"{str(path)!a} is no importance matrix: it has no entries")
    return means
