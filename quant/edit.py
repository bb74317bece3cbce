"""A copy of a model file with other metadata. Knows the types of GGUF, not what keys mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edgerun.errors import UsageError
from edgerun.gguf import GGUF, Metadata
from edgerun.gguf.span import Span
from edgerun.gguf.tensor import Tensor
from edgerun.gguf.types import VALUE_CODES, VALUE_NAMES
from edgerun.gguf.writer import GGUFWriter

_ALIASES = {"int": "i64", "float": "f32", "string": "str"}   # llama.cpp's names, and what one types
_RANGES = {name: (-(1 << bits - 1), (1 << bits - 1) - 1) for name, bits in (("i8", 8), ("i16", 16), ("i32", 32), ("i64", 64))}
_RANGES |= {name: (0, (1 << bits) - 1) for name, bits in (("u8", 8), ("u16", 16), ("u32", 32), ("u64", 64))}
# Keys that say where tensors lie: the writer sets them.
_LAYOUT = frozenset({"general.alignment", "split.no", "split.count", "split.tensors.count"})


@dataclass(frozen=True)
class Change:
    """A key with its new value; kind: the GGUF type, of the items for a list; None for the usual one."""

    key: str
    value: Any
    kind: str | None

    @classmethod
    def parse(cls, text: str, metadata: Metadata) -> Change:
        """`key=value` or `key=type:value`. A key that is there keeps its type; lists are JSON. UsageError when it makes no sense."""
        key, equals, value = text.partition("=")
        if not key or not equals or not key.isprintable():
            raise UsageError(f"{text[:60]!a} is not key=value, as general.name=Tiny or tokenizer.ggml.add_bos_token=bool:false")
        if key in _LAYOUT:
            raise UsageError(f"{key} says where tensors lie and cannot be changed")
        named, colon, rest = value.partition(":")
        named = _ALIASES.get(named, named)
        if colon and named in VALUE_NAMES and named != "arr":
            return cls(key, _value(key, rest, named), named)
        if key in metadata:
            kind = item_kind(metadata, key)
            return cls(key, _value(key, value, kind, metadata.count(key) is not None), kind)
        return cls(key, _guess(value), None)


def copy_metadata(metadata: Metadata, writer: GGUFWriter, changes: Sequence[Change] = (), removed: Collection[str] = ()) -> None:
    """Add all keys to a writer, changed ones in their place, new ones at the end. UsageError for a key to be removed that is not there."""
    if missing := sorted(set(removed).difference(metadata)):
        raise UsageError(f"there is no key {missing[0]!a} to be removed")
    new = {change.key: change for change in changes}
    for key in metadata:
        if key in _LAYOUT or key in removed:
            continue
        change = new.pop(key, None)
        if change:
            writer.add(key, change.value, change.kind)
        else:
            writer.add(key, metadata.stored(key) or metadata[key], item_kind(metadata, key))
    for change in new.values():
        writer.add(change.key, change.value, change.kind)


def item_kind(metadata: Metadata, key: str) -> str | None:
    """The GGUF type of a value, or of an array's items; None for arrays of arrays, whose type the writer finds."""
    kind = metadata.kind(key).strip("[").partition(";")[0]
    return None if kind == "arr" else kind


def edit(file: GGUF, out: Path, changes: Sequence[Change], removed: Collection[str] = (), progress: Callable[[int, int], None] = lambda done, of: None) -> None:
    """Write a copy of an open model to `out`, in one file. progress(bytes of tensors written, of). OutputError when that fails."""
    refuse_source(file, out, [out])
    total = sum(tensor.nbytes for tensor in file.tensors.values())
    writer = GGUFWriter(out)
    copy_metadata(file.metadata, writer, changes, removed)
    for name, tensor in file.tensors.items():
        writer.add_tensor(name, spans(tensor) or partial(_read, tensor), tensor.type, tensor.shape)
    writer.write(progress=lambda done: progress(done, total))
    writer.publish()
    progress(total, total)


def spans(tensor: Tensor) -> list[Span] | None:
    """Where a tensor's bytes are, to be copied; None where they have to be read."""
    return [Span(tensor.file, tensor.offset, tensor.nbytes)] if type(tensor) is Tensor else None


def _read(tensor: Tensor) -> memoryview:
    return tensor.read().reshape(-1).data


def refuse_source(file: GGUF, out: Path, paths: Sequence[Path]) -> None:
    """UsageError, which calls it `out`, when one of the paths to be written is a part of the open model."""
    if any(path.exists() and path.samefile(part.path) for path in paths for part in file.files):
        raise UsageError(f"{str(out)!a} is the model itself; give another name")


def _value(key: str, text: str, kind: str | None, is_list: bool = False) -> Any:
    """A value of that type. UsageError when the text is none."""
    if is_list:
        items = _json(text)
        if not isinstance(items, list) or kind is None:
            raise UsageError(f"{key} is a list; give one as JSON, as [1, 2], not {text[:40]!a}")
        return [_checked(key, item, kind) for item in items]
    return _checked(key, text if kind == "str" else _json(text), kind or "str")


def _checked(key: str, value: Any, kind: str) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "str":
        fits = isinstance(value, str)
    elif kind == "bool":
        fits = isinstance(value, bool)
    elif kind in _RANGES:
        fits = number and isinstance(value, int) and _RANGES[kind][0] <= value <= _RANGES[kind][1]
    else:
        assert VALUE_NAMES.index(kind) in VALUE_CODES
        fits = number
    if not fits:
        raise UsageError(f"{key} is of type {kind}, which cannot hold {str(value)[:40]!a}")
    return float(value) if kind in ("f32", "f64") else value


def _guess(text: str) -> Any:
    value = _json(text)
    return value if isinstance(value, bool | int | float) else text


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
