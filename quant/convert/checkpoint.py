"""A folder with config.json and safetensors: which tensors it has, and their bytes.

The format: 8 bytes of length, a JSON header with dtype, shape and place of each tensor, then the bytes
(https://huggingface.co/docs/safetensors). Everything here is untrusted: every place is checked before a byte is read or
allocated, and read with pread. Knows no family.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgerun.errors import ModelError, Unsupported, UsageError
from edgerun.gguf.file import File, shown
from edgerun.gguf.span import Span

_MAX_HEADER = 100_000_000   # bytes, as in the format's own implementation
_MAX_JSON = 200_000_000     # of an index or a configuration
_FIRST = 1 << 26            # bytes that are asked for while there is more to be read about them
_MAX_DIMENSIONS = 8
_MAX_SIDE = 1 << 40
# Bits of each dtype, and the NumPy type its bytes are kept in; those without one are of quantized checkpoints.
_DTYPES: dict[str, tuple[int, str | None]] = {
    "F64": (64, "<f8"), "F32": (32, "<f4"), "F16": (16, "<f2"), "BF16": (16, "<u2"), "I64": (64, "<i8"), "I32": (32, "<i4"), "I16": (16, "<i2"),
    "I8": (8, "i1"), "U64": (64, "<u8"), "U32": (32, "<u4"), "U16": (16, "<u2"), "U8": (8, "u1"), "BOOL": (8, "u1"),
    "F8_E4M3": (8, None), "F8_E5M2": (8, None), "F8_E8M0": (8, None), "F4": (4, None), "F6_E2M3": (6, None), "F6_E3M2": (6, None),
}  # fmt: skip
_FLOATS = ("F64", "F32", "F16", "BF16")
_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")


@dataclass(frozen=True)
class Stored:
    """A tensor of the checkpoint. shape: slowest dimension first; start: of its bytes in the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: File
    start: int
    nbytes: int

    @property
    def parts(self) -> tuple[Stored, ...]:
        """The tensors of files that it is made of."""
        return (self,)

    @property
    def held(self) -> tuple[np.ndarray, ...]:
        """Numbers in memory that it is made of besides."""
        return ()

    @property
    def span(self) -> Span | None:
        """Where its bytes are as `read` gives them; None where they are computed."""
        return Span(self.file, self.start, self.nbytes) if type(self) is Stored else None

    @property
    def floats(self) -> bool:
        """Whether it holds floating-point numbers that NumPy can compute with, or BF16."""
        return self.dtype in _FLOATS

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Items start..stop along the first dimension as they are stored, BF16 as uint16. ModelError when the file became shorter."""
        kind = _DTYPES[self.dtype][1]
        if kind is None:
            raise Unsupported(f"{self.file.name}: tensor {shown(self.name)} is {self.dtype}: quantized checkpoints cannot be converted; use one in BF16 or F16")
        stop = (self.shape[0] if self.shape else 1) if stop is None else stop
        row = self.nbytes // (self.shape[0] if self.shape else 1)
        out = np.empty((stop - start, *self.shape[1:]) if self.shape else (), kind)
        self.file.read_into(out.reshape(-1).view(np.uint8).data, self.start + start * row)
        return out


def as_floats(x: np.ndarray, dtype: str) -> np.ndarray:
    """float32 of numbers as they are stored in `dtype`."""
    if dtype != "BF16":
        return x.astype(np.float32)
    bits = x.astype(np.uint32)
    bits <<= 16
    return bits.view(np.float32)


class Checkpoint:
    """An open checkpoint folder; `tensors` by name, `config` as it stands in config.json."""

    def __init__(self, folder: Path, weights: bool = True) -> None:
        """Open it. weights: False for what its configuration says alone. UsageError when it is no folder; ModelError when it is incomplete,
        damaged or hostile.
        """
        self.folder = folder
        self.name = shown(str(folder), 1000)
        if not folder.is_dir():
            raise UsageError(f"{self.name}: is not a folder with config.json and *.safetensors")
        self._opened: list[File] = []
        self.tensors: dict[str, Stored] = {}
        try:
            config = self.json("config.json")
            if config is None:
                raise ModelError(f"{self.name}: has no config.json, so it is not a checkpoint in Hugging Face form")
            self.config: dict[str, Any] = config
            for name, wanted in self._files() if weights else ():
                self._add(name, wanted)
        except BaseException:
            self.close()
            raise
        if weights and not self.tensors:
            raise ModelError(f"{self.name}: its files hold no tensors")

    def json(self, name: str) -> dict[str, Any] | None:
        """The object in one of its JSON files; None where there is no such file. ModelError when it is damaged."""
        path = self.folder / name
        return json_file(path) if path.exists() else None

    @property
    def weights(self) -> int:
        """How many numbers its tensors hold."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())

    def release(self) -> tuple[File, ...]:
        """Its open files, which the caller will close."""
        files, self._opened = tuple(self._opened), []
        return files

    def close(self) -> None:
        """Close its files."""
        for file in self._opened:
            file.close()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _files(self) -> Iterator[tuple[str, set[str] | None]]:
        """The safetensors files, each with the tensors that the index wants of it, None where there is no index."""
        index = self.json("model.safetensors.index.json")
        if index is None:
            yield from ((name, None) for name in self._unlisted())
            return
        places = index.get("weight_map")
        if not isinstance(places, dict) or not all(isinstance(file, str) for file in places.values()):
            raise ModelError(f"{self.name}: model.safetensors.index.json has no weight_map of tensors and files")
        for name in sorted(set(places.values())):
            # A plain name only: neither ../ nor a path elsewhere, on any system.
            if not re.fullmatch(r"[\w.+-]{1,200}\.safetensors", name, re.ASCII):
                raise ModelError(f"{self.name}: model.safetensors.index.json names {shown(name)!a}, which is not a .safetensors file in the same folder")
            if not (self.folder / name).exists():
                raise ModelError(f"{self.name}: {name} is missing, of the files in model.safetensors.index.json; download it again")
            yield name, {tensor for tensor, file in places.items() if file == name}

    def _unlisted(self) -> list[str]:
        """The files of a folder without index."""
        names = sorted(path.name for path in self.folder.glob("*.safetensors"))
        names = ["model.safetensors"] if "model.safetensors" in names else [name for name in names if name.startswith("model")]
        if not names:
            if pickles := sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in self.folder.glob(pattern)):
                raise Unsupported(f"{self.name}: {shown(pickles[0])} is a pickle, which can run code when it is read; use a checkpoint saved as safetensors")
            raise ModelError(f"{self.name}: has no model.safetensors and no model.safetensors.index.json")
        for name in names:
            if match := _PART.fullmatch(name):
                expected = {f"{match[1]}-{i:05}-of-{match[3]}.safetensors" for i in range(1, min(int(match[3]), 10_000) + 1)}
                if missing := sorted(expected.difference(names)):
                    raise ModelError(f"{self.name}: {missing[0]} is missing, of {len(expected)} files; download it again")
        return names

    def _add(self, name: str, wanted: set[str] | None) -> None:
        file = File(self.folder / name)
        if not self._opened:
            file.ask(0, _FIRST)
        self._opened.append(file)
        for tensor in tensors_of(file):
            if wanted is not None and tensor.name not in wanted:
                continue
            if tensor.name in self.tensors:
                raise ModelError(f"{file.name}: has tensor {shown(tensor.name)}, which is in {self.tensors[tensor.name].file.name} too")
            self.tensors[tensor.name] = tensor
        if wanted is not None and (missing := sorted(wanted.difference(self.tensors))):
            raise ModelError(f"{file.name}: lacks tensor {shown(missing[0])}, which model.safetensors.index.json says is there")


def json_file(path: Path) -> dict[str, Any]:
    """The object in a JSON file. ModelError when it is damaged."""
    with contextlib.closing(File(path)) as file:
        if file.size > _MAX_JSON:
            raise ModelError(f"{file.name}: has {file.size} bytes, more than the {_MAX_JSON} that are read")
        return _object(file.read(0, file.size), file.name)


def tensors_of(file: File) -> list[Stored]:
    """What the header of a safetensors file promises, checked: no gap, no overlap, nothing outside the file."""
    if file.size < 8:
        raise ModelError(f"{file.name}: has {file.size} bytes, too few for a safetensors file")
    (length,) = struct.unpack("<Q", file.read(0, 8))
    if not 2 <= length <= min(_MAX_HEADER, file.size - 8):
        raise ModelError(f"{file.name}: claims a header of {length} bytes; it is not a safetensors file, or cut short")
    header = _object(file.read(8, length), file.name)
    header.pop("__metadata__", None)
    tensors = [_tensor(file, name, entry, 8 + length) for name, entry in header.items()]
    at = 8 + length
    for tensor in sorted(tensors, key=lambda tensor: (tensor.start, tensor.nbytes)):
        if tensor.start != at:
            what = "overlaps the one before it" if tensor.start < at else "leaves a gap before it"
            raise ModelError(f"{file.name}: tensor {shown(tensor.name)} {what}, at byte {tensor.start} instead of {at}")
        at += tensor.nbytes
    if at != file.size:
        raise ModelError(f"{file.name}: has {file.size} bytes, and its header describes {at}; download it again")
    return tensors


def _tensor(file: File, name: str, entry: Any, base: int) -> Stored:
    where = f"{file.name}: tensor {shown(name)}"
    try:
        dtype, shape, (start, stop) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        numbers = (*shape, start, stop)
    except (TypeError, KeyError, ValueError):
        raise ModelError(f"{where} is not described by dtype, shape and data_offsets") from None
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise Unsupported(f"{where} has dtype {shown(str(dtype))!a}, which is not known; these are {', '.join(_DTYPES)}")
    if len(shape) > _MAX_DIMENSIONS or not all(type(n) is int and 0 <= n <= _MAX_SIDE for n in numbers) or start > stop or stop > file.size - base:
        raise ModelError(f"{where} has an impossible shape or place: {shown(str(entry['shape']))}, bytes {shown(str(entry['data_offsets']))}")
    if math.prod(shape) * _DTYPES[dtype][0] != 8 * (stop - start):
        raise ModelError(f"{where} has {stop - start} bytes, which is not what {shown(str(list(shape)))} of {dtype} takes")
    return Stored(name, dtype, shape, file, base + start, stop - start)


def _object(content: bytes, name: str) -> dict[str, Any]:
    """A JSON object; ModelError for anything else, and for a key that comes twice."""
    try:
        value = json.loads(content, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{name}: is not sound JSON: {shown(str(error))}") from None
    if not isinstance(value, dict):
        raise ModelError(f"{name}: holds no JSON object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key comes twice")
    return result
