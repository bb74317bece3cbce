"""One tensor of a GGUF file: where it is, and its bytes. Knows no format: what the bytes mean is `formats`' business."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgerun.gguf.file import File
from edgerun.gguf.types import TENSOR_TYPES

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Tensor:
    """shape: slowest dimension first, so a matrix is (rows, cols); type: GGML id; offset: of its first byte in its file."""

    name: str
    shape: tuple[int, ...]
    type: int
    nbytes: int
    offset: int
    file: File = field(repr=False, compare=False)

    @property
    def type_name(self) -> str:
        """The name of its type, as `Q4_K`."""
        return TENSOR_TYPES[self.type].name

    @property
    def rows(self) -> int:
        """Rows of `shape[-1]` weights: all dimensions but the last."""
        return math.prod(self.shape[:-1])

    @property
    def is_placed(self) -> bool:
        """Whether the rows lie together in the file: then `place` says where, and `mapped` works."""
        return True

    def place(self) -> tuple[int, int]:
        """The descriptor of the file, and the byte of it that the first row begins with."""
        return self.file.fd, self.offset

    def mapped(self) -> np.ndarray:
        """All rows as uint8 [rows, bytes per row] in the mapping of the file, to be read only: no copy, and as long-lived as the array.

        A file that is cut short while it is mapped ends the process. ModelError where it cannot be mapped.
        """
        return self.file.mapped()[self.offset : self.offset + self.nbytes].reshape(self.rows, -1)

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start:stop as uint8 [rows, bytes per row], a copy of their own. Thread-safe.

        GGUFError when the file was cut short meanwhile, ModelError when the disk fails.
        """
        import numpy as np

        rows = self.rows
        stop = rows if stop is None else stop
        if not 0 <= start <= stop <= rows:
            raise ValueError(f"rows {start}:{stop} of {self.name}, which has {rows}")
        row_bytes = self.nbytes // rows
        array = np.empty((stop - start, row_bytes), np.uint8)
        if array.size:
            self.file.read_into(array.reshape(-1).data, self.offset + start * row_bytes)
        return array
