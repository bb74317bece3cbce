"""Writes GGUF version 3 files. Knows no model: it writes the keys and tensors it is given.

    with GGUFWriter("model.gguf") as writer:
        writer.add("general.architecture", "llama")
        writer.add_tensor("token_embd.weight", array)
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edgerun.errors import OutputError
from edgerun.gguf.file import shown
from edgerun.gguf.header import ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAX_NAME_BYTES
from edgerun.gguf.proof import COPIED, Journal, proven
from edgerun.gguf.span import Span
from edgerun.gguf.types import ARRAY, BOOL, F32, I32, I64, STRING, TENSOR_TYPES, U32, U64, VALUE_CODES, VALUE_NAMES
from edgerun.gguf.value import Value

if TYPE_CHECKING:
    import numpy as np

Bytes = bytes | bytearray | memoryview
Progress = Callable[[int], None]   # (bytes of tensors that are in the file)
_DTYPES = {"float32": 0, "float16": 1, "int8": 24, "int16": 25, "int32": 26, "int64": 27, "float64": 28}
_STORED = 1 << 25   # bytes that are stored at a time


class GGUFWriter:
    """Collects keys and tensors and writes them on `close`: to `path` + ".part" first, which is renamed when it is safe on disk."""

    def __init__(self, path: str | os.PathLike[str], alignment: int = DEFAULT_ALIGNMENT):
        self.path = Path(path)
        self._part = self.path.with_name(self.path.name + ".part")
        self._alignment = alignment
        self._values: dict[str, bytes] = {}
        self._tensors: dict[str, tuple[tuple[int, ...], int, int, Any]] = {}
        if alignment != DEFAULT_ALIGNMENT:
            self.add(ALIGNMENT_KEY, alignment, "u32")

    def add(self, key: str, value: Any, kind: str | None = None) -> None:
        """Add a key. value: int, float, bool, str, bytes, or a list of them; kind: as `u64`, of the items for a list; else chosen.

        An array that was read may be given as it was stored, a `Value`.
        """
        if not key or key in self._values:
            raise ValueError(f"the key {key!r} is empty or added twice")
        number = None if kind is None else VALUE_NAMES.index(kind)
        self._values[key] = _value(value, number)

    def add_tensor(
        self,
        name: str,
        data: np.ndarray | Bytes | Sequence[Span] | Callable[[], Bytes | Iterator[Bytes]],
        type: int | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        """Add a tensor. data: an array, or bytes of GGML type `type`: these themselves, where they are in files, or a function that gives them,
        whole or in pieces, when they are written.

        shape: slowest dimension first, in weights; of the array itself where not given.
        """
        if not isinstance(data, Bytes | Sequence) and not callable(data):
            type = _DTYPES[str(data.dtype)] if type is None else type
            shape = data.shape if shape is None else shape
        if type is None or shape is None:
            raise ValueError(f"the tensor {name!r} needs a type and a shape")
        kind = TENSOR_TYPES[type]
        if name in self._tensors or not 0 < len(name.encode()) <= MAX_NAME_BYTES:
            raise ValueError(f"the tensor name {name!r} is empty, too long, or added twice")
        if not 1 <= len(shape) <= 4 or min(shape) < 1 or shape[-1] % kind.block:
            raise ValueError(f"the tensor {name!r} cannot have the shape {shape} in {kind.name}")
        nbytes = kind.row_bytes(shape[-1])
        for dimension in shape[:-1]:
            nbytes *= dimension
        self._tensors[name] = shape, type, nbytes, data

    def close(self) -> None:
        """Write the file. OutputError when that fails; then nothing is left behind."""
        self.write()
        self.publish()

    def write(self, journal: Journal | None = None, progress: Progress = lambda done: None) -> None:
        """Write all of it beside its place. OutputError when that fails; then nothing is left behind.

        With a journal, the tensors that an earlier try wrote are kept if they are as they were, and the functions that make them are not
        called; and what is there stays when the program is told to end.
        """
        with self._removing(journal), open(self._part, "r+b" if journal and self._part.is_file() else "w+b", buffering=0) as file:
            self._write(file, journal, progress)
            os.fsync(file.fileno())

    def publish(self) -> None:
        """Move what was written to its place. OutputError when that fails."""
        with self._removing():
            os.replace(self._part, self.path)

    def discard(self) -> None:
        """Remove what was written and not published."""
        with suppress(OSError):
            self._part.unlink(missing_ok=True)

    @contextmanager
    def _removing(self, journal: Journal | None = None) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            if journal is None or isinstance(error, Exception):
                self.discard()
            if isinstance(error, OSError):
                raise OutputError(f"{shown(str(self.path), 1000)}: cannot be written: {error.strerror or error}") from None
            raise

    def __enter__(self) -> GGUFWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()

    def _write(self, file: FileIO, journal: Journal | None, progress: Progress) -> None:
        head = self._head()
        tensors = list(self._tensors.items())
        contents = [(self._padded(nbytes), data if _is_copy(data) else None) for _, (_, _, nbytes, data) in tensors]
        known = proven(file, head, contents, journal.known(head)) if journal else []
        sizes = [nbytes for _, (_, _, nbytes, _) in tensors[: len(known)]]
        file.truncate(len(head) + sum(map(self._padded, sizes)) if known else 0)
        done = sum(sizes)
        file.seek(0, os.SEEK_END)
        if not known:
            _put(file, head)
        if journal:
            journal.restart(known)
        begun = file.tell()
        for name, (_, _, nbytes, data) in tensors[len(known) :]:
            start, checksum = file.tell(), 0
            for piece in _pieces(data() if callable(data) else data):
                progress(done + file.tell() - start)
                if isinstance(piece, Span):
                    piece.copy_to(file.fileno())
                else:
                    checksum = zlib.crc32(piece, checksum) if journal else 0
                    _put(file, piece)
                begun = _begin_to_store(file, begun)
            if (written := file.tell() - start) != nbytes:
                raise ValueError(f"the tensor {name!r} has {written} bytes; its shape and type need {nbytes}")
            padding = bytes(self._padded(nbytes) - nbytes)
            _put(file, padding)
            done += nbytes
            if journal:
                journal.add(COPIED if _is_copy(data) else zlib.crc32(padding, checksum))

    def _padded(self, nbytes: int) -> int:
        return nbytes + -nbytes % self._alignment

    def _head(self) -> bytes:
        """Everything before the tensors' bytes."""
        parts = [b"GGUF" + struct.pack("<IQQ", 3, len(self._tensors), len(self._values))]
        parts += [_string(key) + value for key, value in self._values.items()]
        offset = 0
        for name, (shape, type_id, nbytes, _) in self._tensors.items():
            parts.append(_string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), type_id, offset))
            offset += nbytes + -nbytes % self._alignment
        parts.append(bytes(-sum(map(len, parts)) % self._alignment))
        return b"".join(parts)


def _put(file: FileIO, content: Bytes) -> None:
    """Write all of it: a system may take less at a time."""
    left = memoryview(content).cast("B")
    while left:
        left = left[file.write(left) :]


def _begin_to_store(file: FileIO, begun: int) -> int:
    """Have the system store what was written from `begun` on, once that is much, while more is made: fsync would wait for all of it at the end.

    The place up to which that is begun. To say that bytes are not needed soon is what Linux takes as a reason to store them.
    """
    end = file.tell()
    if end - begun < _STORED or not hasattr(os, "posix_fadvise"):
        return begun
    with suppress(OSError):   # a hint: some file systems do not take it
        os.posix_fadvise(file.fileno(), begun, end - begun, os.POSIX_FADV_DONTNEED)
    return end


def _is_copy(data: Any) -> bool:
    """Whether a tensor is what files have."""
    return isinstance(data, Sequence) and not isinstance(data, Bytes)


def _pieces(content: Any) -> Iterable[Bytes | Span]:
    """The bytes of a tensor: of an array, of files, or as they are given, whole or in pieces."""
    if isinstance(content, Bytes):
        return (content,)
    if _is_copy(content):
        return (piece for span in content for piece in span.pieces())
    return content if isinstance(content, Iterator) else (content.tobytes(),)


def _string(text: str | bytes) -> bytes:
    content = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return struct.pack("<Q", len(content)) + content


def as_read(value: Any, kind: str | None = None) -> Value:
    """What a reader has of a value that was given to `GGUFWriter.add`."""
    content = _value(value, None if kind is None else VALUE_NAMES.index(kind))
    type = struct.unpack_from("<I", content)[0]
    if type != ARRAY:
        return Value(type, None, content[4:])
    item, count = struct.unpack_from("<IQ", content, 4)
    return Value(item, count, content[16:])


def _value(value: Any, kind: int | None) -> bytes:
    """Type and value as they stand in the file."""
    if isinstance(value, Value):
        return struct.pack("<IIQ", ARRAY, value.type, value.count) + value.data
    if isinstance(value, list | tuple):
        return struct.pack("<I", ARRAY) + _array(value, kind)
    kind = _kind([value]) if kind is None else kind
    return struct.pack("<I", kind) + _items([value], kind)


def _array(values: list[Any] | tuple[Any, ...], kind: int | None) -> bytes:
    if values and isinstance(values[0], list | tuple):
        return struct.pack("<IQ", ARRAY, len(values)) + b"".join(_array(v, kind) for v in values)
    kind = _kind(values) if kind is None else kind
    return struct.pack("<IQ", kind, len(values)) + _items(values, kind)


def _items(values: list[Any] | tuple[Any, ...], kind: int) -> bytes:
    return b"".join(map(_string, values)) if kind == STRING else struct.pack(f"<{len(values)}{VALUE_CODES[kind]}", *values)


def _kind(values: list[Any] | tuple[Any, ...]) -> int:
    """The usual type of such values: the first of u32, i32, u64, i64 that holds all whole numbers."""
    first = values[0] if values else 0
    for python, kind in ((bool, BOOL), (str, STRING), (bytes, STRING), (float, F32)):
        if isinstance(first, python):
            return kind
    low, high = min(values, default=0), max(values, default=0)
    if low >= 0:
        return U32 if high < 1 << 32 else U64
    return I32 if low >= -(1 << 31) and high < 1 << 31 else I64
