"""Reads and checks everything in a GGUF file that is not tensor data. Knows the layout, not what a key or tensor is for.

    magic "GGUF" | version u32 | tensors u64 | keys u64
    keys:    name string | type u32 | value            (string: length u64, bytes; array: type u32, count u64, items)
    tensors: name string | dimensions u32 | fastest dimension first u64 [dimensions] | type u32 | offset u64
    padding to the alignment | tensor data, each tensor padded to the alignment

(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.) The file is not trusted: every number is compared, as a
Python integer, with what the file can hold before anything is allocated by it.
"""

from __future__ import annotations

from edgerun.dataclass import dataclass
from edgerun.errors import Unsupported
from edgerun.gguf.cursor import Cursor
from edgerun.gguf.file import File, shown
from edgerun.gguf.tensor import Tensor
from edgerun.gguf.types import ARRAY, BOOL, FOREIGN_TYPES, STRING, TENSOR_TYPES, U32, VALUE_NAMES, VALUE_SIZES, TensorType
from edgerun.gguf.value import Value

ALIGNMENT_KEY = "general.alignment"
DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 1 << 20
MAX_KEYS = 1 << 14
MAX_TENSORS = 1 << 15        # ten times the largest model of today
MAX_KEY_BYTES = 65535        # as the format says
MAX_NAME_BYTES = 63          # llama.cpp's GGML_MAX_NAME, less the zero
MAX_DIMENSIONS = 4
MAX_BYTES = (1 << 63) - 1
MAX_ITEMS = 1 << 20          # of one array; four times the largest vocabulary
MAX_ALL_ITEMS = 1 << 22      # of all arrays
MAX_INNER_ARRAYS = 1 << 16   # arrays in arrays, all together
MAX_NESTING = 4

_STRANGERS = {
    b"lmgg": "it is a GGML file from before GGUF",
    b"fmgg": "it is a GGMF file from before GGUF",
    b"tjgg": "it is a GGJT file from before GGUF",
    b"FUGG": "it is a GGUF file with its bytes swapped",
    b"PK\3\4": "it is a zip archive or a PyTorch checkpoint",
    b"\x1f\x8b": "it is a gzip archive",
    b"version https://git-lfs": "it is a Git LFS pointer, not the file it points to",
    b"<": "it is a web page",
}
_SAFETENSORS = "it is a safetensors checkpoint"


@dataclass(frozen=True)
class Header:
    """What a file says before its tensor data, checked."""

    version: int
    values: dict[str, Value]
    tensors: dict[str, Tensor]


def read_header(file: File) -> Header:
    """The checked header of a file; GGUFError or Unsupported with the byte where it goes wrong."""
    cursor = Cursor(file)
    _check_magic(cursor)
    version = _read_version(cursor)
    tensor_count, key_count = cursor.u64("the number of tensors"), cursor.u64("the number of keys")
    for count, limit, what in ((tensor_count, MAX_TENSORS, "tensors"), (key_count, MAX_KEYS, "metadata keys")):
        if count > limit:
            cursor.fail(f"{count} {what} are claimed; at most {limit} are accepted")
    values = _read_values(cursor, key_count)
    return Header(version, values, _read_tensors(cursor, tensor_count, _alignment(cursor, values)))


def _check_magic(cursor: Cursor) -> None:
    start = cursor.file.read(0, min(24, cursor.file.size))
    if not start:
        cursor.fail("the file is empty; download it again")
    if not start.startswith(b"GGUF"):
        reason = next((text for magic, text in _STRANGERS.items() if start.startswith(magic)), f"it starts with {start[:4]!r}")
        cursor.fail(f"this is not a GGUF file: {_SAFETENSORS if start[8:9] == b'{' else reason}; a GGUF model is needed")
    cursor.at = 4


def _read_version(cursor: Cursor) -> int:
    version = cursor.u32("the version")
    if version in (2, 3):
        return version
    if version & 0xFFFF == 0 and version:
        cursor.fail("the file is big-endian; edgerun reads little-endian GGUF: convert it with gguf-convert-endian", 4)
    if version == 1:
        cursor.fail("GGUF version 1 is no longer read; convert the model again with a current llama.cpp", 4)
    cursor.fail(f"GGUF version {version} is not known, only 2 and 3 are; take another file or a newer edgerun", 4)


# ----------------------------------------------------------------------------------------------------------------------
# Metadata


class _Budget:
    """How many array items and inner arrays may still come."""

    def __init__(self) -> None:
        self.items = MAX_ALL_ITEMS
        self.arrays = MAX_INNER_ARRAYS


def _read_values(cursor: Cursor, count: int) -> dict[str, Value]:
    values: dict[str, Value] = {}
    budget = _Budget()
    for number in range(count):
        start = cursor.at
        key = cursor.name(f"metadata key {number}", MAX_KEY_BYTES)
        if key in values:
            cursor.fail(f"the key {shown(key)!r} appears twice", start)
        values[key] = _read_value(cursor, repr(key) if len(key) < 80 else f"metadata key {number}", budget)
    return values


def _read_value(cursor: Cursor, what: str, budget: _Budget) -> Value:
    kind = cursor.u32(f"the type of {what}")
    start = cursor.at
    if kind == ARRAY:
        item, count, start = _skip_array(cursor, what, budget, 1)
        return Value(item, count, cursor.slice(start, cursor.at))
    if kind == STRING:
        cursor.skip(cursor.u64(f"the length of {what}"), what)
    else:
        _skip_scalars(cursor, kind, 1, what)
    return Value(kind, None, cursor.slice(start, cursor.at))


def _skip_array(cursor: Cursor, what: str, budget: _Budget, depth: int) -> tuple[int, int, int]:
    """Pass an array; returns type and number of its items, and where they start."""
    at = cursor.at
    item, count = cursor.u32(f"the item type of {what}"), cursor.u64(f"the item count of {what}")
    start = cursor.at
    if count > MAX_ITEMS or count > budget.items:
        cursor.fail(f"{what} claims {count} items; at most {MAX_ITEMS}, and {MAX_ALL_ITEMS} in all arrays, are accepted", at)
    budget.items -= count
    if item == STRING:
        cursor.skip_strings(count, what)
    elif item != ARRAY:
        _skip_scalars(cursor, item, count, what)
    elif depth == MAX_NESTING or count > budget.arrays:
        cursor.fail(f"{what} holds arrays nested deeper than {MAX_NESTING}, or more than {MAX_INNER_ARRAYS} of them", at)
    else:
        budget.arrays -= count
        for _ in range(count):
            _skip_array(cursor, what, budget, depth + 1)
    return item, count, start


def _skip_scalars(cursor: Cursor, kind: int, count: int, what: str) -> None:
    if kind not in VALUE_SIZES:
        cursor.fail(f"{what} has the unknown type {kind}; types are 0 to {len(VALUE_NAMES) - 1}")
    start = cursor.at
    cursor.skip(count * VALUE_SIZES[kind], what)
    if kind == BOOL and (rest := cursor.slice(start, cursor.at).lstrip(b"\0\1")):
        cursor.fail(f"{what} is a bool of value {rest[0]}; it must be 0 or 1", cursor.at - len(rest))


def _alignment(cursor: Cursor, values: dict[str, Value]) -> int:
    if ALIGNMENT_KEY not in values:
        return DEFAULT_ALIGNMENT
    value = values[ALIGNMENT_KEY]
    alignment = value.decode() if value.type == U32 and value.count is None else 0
    if alignment % 8 or not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        cursor.fail(f"{ALIGNMENT_KEY!r} is {alignment or value.kind}; it must be a u32, a power of two from 8 to {MAX_ALIGNMENT}")
    return alignment


# ----------------------------------------------------------------------------------------------------------------------
# Tensors


def _read_tensors(cursor: Cursor, count: int, alignment: int) -> dict[str, Tensor]:
    entries: dict[str, tuple[tuple[int, ...], int, int, int]] = {}
    end = 0   # of the data so far, from the start of the data
    for number in range(count):
        at = cursor.at
        name = cursor.name(f"the name of tensor {number}", MAX_NAME_BYTES)
        if name in entries:
            cursor.fail(f"the tensor {name!r} appears twice", at)
        shape, type_id, nbytes, offset = _read_tensor(cursor, name)
        if offset != end:
            cursor.fail(f"tensor {name!r} has the offset {offset}, but the tensors before it end at {end}", cursor.at - 8)
        entries[name] = shape, type_id, nbytes, offset
        end = _padded(offset + nbytes, alignment)
    start = _padded(cursor.at, alignment)
    if entries:
        _check_size(cursor, start + offset + nbytes)
    return {name: Tensor(name, shape, type_id, nbytes, start + offset, cursor.file) for name, (shape, type_id, nbytes, offset) in entries.items()}


def _read_tensor(cursor: Cursor, name: str) -> tuple[tuple[int, ...], int, int, int]:
    """Shape, type, bytes and offset of the tensor called `name`."""
    at = cursor.at
    count = cursor.u32(f"the number of dimensions of {name!r}")
    if count > MAX_DIMENSIONS:
        cursor.fail(f"tensor {name!r} has {count} dimensions; at most {MAX_DIMENSIONS} are possible", at)
    dimensions = [cursor.u64(f"a dimension of {name!r}") for _ in range(count)] or [1]   # none: one number, as in llama.cpp
    at = cursor.at
    type_id = cursor.u32(f"the type of {name!r}")
    kind = _tensor_type(cursor, name, type_id, at)
    if dimensions[0] % kind.block:
        cursor.fail(f"tensor {name!r} has rows of {dimensions[0]} weights; {kind.name} needs a multiple of {kind.block}", at)
    nbytes = kind.row_bytes(dimensions[0])
    for dimension in dimensions[1:]:
        nbytes *= dimension
    if not 0 < nbytes <= MAX_BYTES:
        cursor.fail(f"tensor {name!r} has the impossible dimensions {dimensions}", at)
    return tuple(reversed(dimensions)), type_id, nbytes, cursor.u64(f"the offset of {name!r}")


def _tensor_type(cursor: Cursor, name: str, type_id: int, at: int) -> TensorType:
    if type_id in TENSOR_TYPES:
        return TENSOR_TYPES[type_id]
    if type_id in FOREIGN_TYPES:
        raise Unsupported(
            f"{cursor.file.name}: tensor {name!r} is of type {type_id} ({FOREIGN_TYPES[type_id]}); take a file made by llama.cpp itself"
        )
    cursor.fail(f"tensor {name!r} is of the unknown type {type_id}; the file is damaged, or newer than this edgerun", at)


def _check_size(cursor: Cursor, expected: int) -> None:
    size = cursor.file.size
    if expected > size:
        cursor.fail(f"the file is cut short: {expected - size} of {expected} bytes are missing; download it again", size)


def _padded(count: int, alignment: int) -> int:
    return -(-count // alignment) * alignment
