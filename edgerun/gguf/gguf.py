"""Opens a model file, or all parts of a split one, as one thing. Knows nothing of what the model computes."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edgerun.errors import GGUFError, ModelError
from edgerun.gguf.file import File, shown
from edgerun.gguf.header import Header, read_header
from edgerun.gguf.metadata import Metadata
from edgerun.gguf.stack import stacked
from edgerun.gguf.tensor import Tensor

SPLIT_NO, SPLIT_COUNT, SPLIT_TENSORS = "split.no", "split.count", "split.tensors.count"
_SPLIT_NAME = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf", re.DOTALL)
MAX_SPLITS = 99999


@dataclass(frozen=True)
class GGUF:
    """An open model: `path` and `version` of its first part, `size` in bytes of all parts, tensors in file order
    (old files' matrices of single experts as stacks).

    A context manager; tensors cannot be read after `close`.
    """

    path: Path
    version: int
    size: int
    metadata: Metadata
    tensors: dict[str, Tensor]
    files: tuple[File, ...]

    def close(self) -> None:
        """Close all parts. Calling it twice is harmless."""
        for file in self.files:
            file.close()

    def __enter__(self) -> GGUF:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_gguf(path: str | os.PathLike[str]) -> GGUF:
    """Open a GGUF file (the first part of a split one) and check all of it but the weights.

    ModelError when it cannot be opened, GGUFError when it is not GGUF or is damaged, Unsupported for tensor types of forks.
    """
    path = Path(path)
    with ExitStack() as files:
        file = _open(path, files)
        header = read_header(file)
        metadata = Metadata(header.values, file.name)
        opened = [file]
        tensors = header.tensors
        count = metadata.int(SPLIT_COUNT, 0, 0, MAX_SPLITS)
        if count > 1:
            others = _open_others(path, metadata, count, files)
            tensors = _merge([(file, header), *others], metadata.int(SPLIT_TENSORS))
            opened += [file for file, _ in others]
        files.pop_all()   # from here on the GGUF owns them
    return GGUF(path, header.version, sum(file.size for file in opened), metadata, stacked(tensors), tuple(opened))


def _open(path: Path, files: ExitStack) -> File:
    file = File(path)
    files.callback(file.close)
    return file


def _open_others(path: Path, metadata: Metadata, count: int, files: ExitStack) -> list[tuple[File, Header]]:
    """Parts 2 to `count` of the model whose first part is `path`; their names are made from its own, never from its content."""
    name = shown(str(path), 1000)
    match = _SPLIT_NAME.fullmatch(path.name)
    if not match or int(match[3]) != count:
        raise GGUFError(f"{name}: is part of a model in {count} files, so its name must end in -00001-of-{count:05}.gguf; rename it")
    number = metadata.int(SPLIT_NO, low=0, high=count - 1)
    if number or int(match[2]) != 1:
        first = shown(f"{match[1]}-00001-of-{count:05}.gguf")
        raise GGUFError(f"{name}: is part {number + 1} of {count}; open the first part, {first}")
    others = []
    for index in range(1, count):
        part = path.with_name(f"{match[1]}-{index + 1:05}-of-{count:05}.gguf")
        if not os.path.exists(part):
            raise ModelError(f"{shown(str(part), 1000)}: part {index + 1} of {count} is missing; download all parts into one folder")
        file = _open(part, files)
        header = read_header(file)
        keys = Metadata(header.values, file.name)
        if (keys.int(SPLIT_NO), keys.int(SPLIT_COUNT)) != (index, count):
            raise GGUFError(f"{file.name}: calls itself part {keys[SPLIT_NO] + 1} of {keys[SPLIT_COUNT]}, not {index + 1} of {count}")
        others.append((file, header))
    return others


def _merge(parts: list[tuple[File, Header]], expected: int) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for file, header in parts:
        for name, tensor in header.tensors.items():
            if name in tensors:
                raise GGUFError(f"{file.name}: the tensor {name!r} is in {tensors[name].file.name} too; the parts do not belong together")
            tensors[name] = tensor
    if len(tensors) != expected:
        raise GGUFError(f"{parts[0][0].name}: the parts hold {len(tensors)} tensors, {SPLIT_TENSORS} is {expected}; download them again")
    return tensors
