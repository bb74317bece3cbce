"""One metadata value as it lies in the file, decoded when somebody asks. Knows no key and no file."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from edgerun.gguf import strings
from edgerun.gguf.types import ARRAY, STRING, VALUE_CODES, VALUE_NAMES, VALUE_SIZES

_ARRAY_HEAD = struct.Struct("<IQ").unpack_from


@dataclass(frozen=True, slots=True)
class Value:
    """Checked bytes of a value. type: its type id, that of the items for an array; count: items, None for a scalar."""

    type: int
    count: int | None
    data: bytes

    @property
    def kind(self) -> str:
        """What it is, for people: `u32`, `str`, `[f32; 49152]`."""
        name = VALUE_NAMES[self.type]
        return name if self.count is None else f"[{name}; {self.count}]"

    def decode(self) -> Any:
        """int, float, bool, str, or a list of those (of lists for arrays of arrays).

        A string that is not UTF-8 gets U+FFFD; in arrays, where a token may be any bytes, these become lone surrogates
        (PEP 383: `text.encode("utf-8", "surrogateescape")` gives them back).
        """
        if self.count is not None:
            return strings.decode(self.data, self.count) if self.type == STRING else decode_items(self.data, 0, self.type, self.count)[0]
        if self.type == STRING:
            return self.data[8:].decode("utf-8", "replace")
        return struct.unpack("<" + VALUE_CODES[self.type], self.data)[0]


def decode_items(data: bytes, at: int, item: int, count: int) -> tuple[list[Any], int]:
    """`count` checked items of type `item` that start at byte `at`, and where they end."""
    if item == STRING:
        return strings.one_by_one(data, at, count)
    if item == ARRAY:
        arrays = []
        for _ in range(count):
            values, at = decode_items(data, at + 12, *_ARRAY_HEAD(data, at))
            arrays.append(values)
        return arrays, at
    return list(struct.unpack_from(f"<{count}{VALUE_CODES[item]}", data, at)), at + count * VALUE_SIZES[item]
