"""The metadata of a GGUF file: a mapping, with getters that refuse nonsense. Knows no architecture: keys are the caller's."""

from __future__ import annotations

import builtins
import math
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, TypeVar

from edgerun.errors import GGUFError
from edgerun.gguf.file import shown
from edgerun.gguf.value import Value

_REQUIRED: Any = object()
_NUMBERS = (int, float)
T = TypeVar("T")


class Metadata(Mapping[str, Any]):
    """Keys in file order. Values are int, float, bool, str or lists of them, decoded when first asked for.

    The getters raise GGUFError, which names key, value and file, when the key is missing without a default, is of
    another type, or is out of bounds. Strings of arrays may hold lone surrogates: see `Value.decode`.
    """

    def __init__(self, values: dict[str, Value], source: str = "metadata"):
        """values: what the file holds; source: the file, for messages."""
        self._values = values
        self._decoded: dict[str, Any] = {}
        self._source = source

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        if key not in self._decoded:
            self._decoded[key] = value.decode()
            self._values[key] = Value(value.type, value.count, b"")   # a vocabulary need not be in memory twice
        return self._decoded[key]

    def __contains__(self, key: object) -> builtins.bool:
        return key in self._values   # Mapping's own would decode the value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> builtins.int:
        return len(self._values)

    def kind(self, key: str) -> builtins.str:
        """The type of a value without decoding it: `u32`, `str`, `[str; 49152]`."""
        return self._values[key].kind

    def count(self, key: str) -> builtins.int | None:
        """How many items the array at `key` has, without decoding it; None when it is not an array."""
        return self._values[key].count

    def stored(self, key: builtins.str) -> Value | None:
        """An array as it lies in the file, for a copy of it; None for other values, and for one that has been decoded."""
        value = self._values[key]
        return value if value.count and value.data else None

    def int(self, key: str, default: T = _REQUIRED, low: builtins.int | None = None, high: builtins.int | None = None) -> builtins.int | T:
        """A whole number, of any integer type, from `low` to `high` where given."""
        if key not in self._values:
            return self._missing(key, default)
        value = self[key]
        if type(value) is not int:
            self._wrong(key, "a whole number")
        if (low is not None and value < low) or (high is not None and value > high):
            self._wrong(key, f"between {low} and {high}" if None not in (low, high) else f"at most {high}" if low is None else f"at least {low}")
        return value

    def float(self, key: str, default: T = _REQUIRED) -> builtins.float | T:
        """A finite number; a whole one is taken as a float."""
        if key not in self._values:
            return self._missing(key, default)
        value = self[key]
        if type(value) not in _NUMBERS or not math.isfinite(value):
            self._wrong(key, "a finite number")
        return builtins.float(value)

    def bool(self, key: str, default: T = _REQUIRED) -> builtins.bool | T:
        """True or false."""
        if key not in self._values:
            return self._missing(key, default)
        value = self[key]
        if type(value) is not bool:
            self._wrong(key, "a bool")
        return value

    def str(self, key: str, default: T = _REQUIRED) -> builtins.str | T:
        """Text; bytes that are not UTF-8 have become U+FFFD."""
        if key not in self._values:
            return self._missing(key, default)
        value = self[key]
        if type(value) is not str:
            self._wrong(key, "a string")
        return value

    def strings(self, key: builtins.str, default: T = _REQUIRED) -> list[builtins.str] | T:
        """A list of strings."""
        return self._list(key, default, (str,), "a list of strings")

    def ints(self, key: builtins.str, default: T = _REQUIRED) -> list[builtins.int] | T:
        """A list of whole numbers."""
        return self._list(key, default, (int,), "a list of whole numbers")

    def floats(self, key: builtins.str, default: T = _REQUIRED) -> list[builtins.float] | T:
        """A list of finite numbers, as floats."""
        values = self._list(key, default, _NUMBERS, "a list of numbers")
        if values is default:
            return default
        if not all(map(math.isfinite, values)):
            self._wrong(key, "a list of finite numbers")
        return list(map(builtins.float, values))

    def bools(self, key: builtins.str, default: T = _REQUIRED) -> list[builtins.bool] | T:
        """A list of bools."""
        return self._list(key, default, (bool,), "a list of bools")

    def _list(self, key: builtins.str, default: Any, types: tuple[type, ...], expected: builtins.str) -> Any:
        if key not in self._values:
            return self._missing(key, default)
        # All items of an array have one type, so the first speaks for all.
        if self._values[key].count is None or (self[key] and type(self[key][0]) not in types):
            self._wrong(key, expected)
        return self[key]

    def _missing(self, key: builtins.str, default: Any) -> Any:
        if default is _REQUIRED:
            raise GGUFError(f"{self._source}: the metadata has no {key!r}; the file is incomplete")
        return default

    def _wrong(self, key: builtins.str, expected: builtins.str) -> NoReturn:
        kind = self.kind(key)
        value = kind if self.count(key) is not None else f"{shown(builtins.str(self[key]))} ({kind})"
        raise GGUFError(f"{self._source}: {key!r} is {value}; it must be {expected}")
