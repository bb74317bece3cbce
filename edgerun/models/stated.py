"""Typed and bounded access to what one file states: the values of its keys and of its small tensors, checked one by one.

Knows neither what a key means nor a family. Everything here is untrusted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from typing import Any, TypeGuard

from edgerun.errors import ModelError, Unsupported
from edgerun.graph.builder import Shape

MAX_COUNT = 1 << 20       # heads, widths: far beyond any model, far below any harm
MAX_LAYERS = 100_000


class Stated:
    """Keys are named without the architecture's prefix. Every method raises ModelError when a value is missing, has the wrong type or makes
    no sense.

    metadata: every key of the file; shapes: every tensor, slowest dimension first; read: the values of a small tensor as float32.
    """

    def __init__(self, architecture: str, metadata: Mapping[str, Any], shapes: Mapping[str, Shape], read: Callable[[str], Any]) -> None:
        self.architecture = architecture
        self._metadata = metadata
        self._shapes = shapes
        self._read = read
        self._consumed: set[str] = set()
        self._asked: set[str] = set()
        self.n_layer = self._layers()

    def get(self, key: str) -> Any:
        """The value as it is in the file, or None."""
        self._asked.add(key)
        return self._metadata.get(f"{self.architecture}.{key}")

    def count(self, key: str, default: int | None = None, least: int = 1, most: int = MAX_COUNT) -> int:
        """A whole number from least to most."""
        value = self.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.wrong(key, value, f"a whole number from {least} to {most} is needed")
        return value

    def counts(self, key: str, default: int | None = None, least: int = 1, most: int = MAX_COUNT) -> tuple[int, ...]:
        """A whole number from least to most for each layer, from an array of them or one for all."""
        value = self.get(key)
        if not is_array(value):
            return (self.count(key, default, least, most),) * self.n_layer
        values = list(value)
        if len(values) != self.n_layer or not all(isinstance(v, int) and not isinstance(v, bool) and least <= v <= most for v in values):
            raise self.wrong(key, value, f"a whole number from {least} to {most} is needed for each of {self.n_layer} layers")
        return tuple(values)

    def flags(self, key: str) -> tuple[bool, ...] | None:
        """True or false for each layer, or None where the file does not say."""
        value = self.get(key)
        return None if value is None else self._flags(key, value)

    def number(self, key: str, default: float | None = None, least: float = 0.0, most: float = math.inf) -> float:
        """A finite number from least to most."""
        value = self.get(key)
        if value is None and default is not None:
            return default
        if not is_number(value) or not least <= value <= most:
            raise self.wrong(key, value, f"a number from {least:g} to {most:g} is needed")
        return float(value)

    def positive(self, key: str, default: float | None = None) -> float:
        """A finite number above zero, in the range of ordinary float32 numbers."""
        return self.number(key, default, least=1e-30, most=1e30)

    def optional(self, key: str) -> float | None:
        """A positive number, or None where the file has none or 0."""
        return None if among(self.get(key), (None, 0)) else self.positive(key)

    def flag(self, key: str, default: bool | None = None) -> bool:
        """True or false, which the file has to say where there is no default."""
        value = self.get(key)
        value = default if value is None else value
        if not isinstance(value, bool):
            raise self.wrong(key, value, "true or false is needed")
        return value

    def by_layer(self, key: str, least: float, most: float, own: bool = True) -> tuple[float, ...]:
        """A number for each layer, from an array of them or one for all. own: whether the key begins with the architecture's name."""
        name = f"{self.architecture}.{key}" if own else key
        self._asked.add(key)
        value: Any = self._metadata.get(name)
        values: list[Any] = list(value) if is_array(value) and len(value) == self.n_layer else [value] * self.n_layer
        for v in values:
            if not isinstance(v, int | float) or isinstance(v, bool) or not least <= v <= most:
                raise ModelError(f"metadata key '{name}' {_is_there(v)}; a number from {least:g} to {most:g} is needed for each of {self.n_layer} layers")
        return tuple(map(float, values))

    def has(self, tensor: str) -> bool:
        """Whether the file has that tensor: some variants of a family differ in nothing else."""
        return tensor in self._shapes

    def rows(self, tensor: str) -> int:
        """The rows of a matrix: for what no key states."""
        if len(shape := self._shapes.get(tensor, ())) != 2:
            raise ModelError(f"tensor '{tensor}' is missing from the model file, or no matrix; download or convert it again")
        return shape[0]

    def vector(self, name: str, length: int) -> tuple[float, ...]:
        """The values of a small tensor of positive numbers, which becomes part of the spec."""
        if name not in self._shapes:
            raise ModelError(f"tensor '{name}' [{length}] is missing from the model file; download or convert it again")
        if tuple(self._shapes[name]) != (length,):
            raise ModelError(f"tensor '{name}' has shape {list(self._shapes[name])} where the file's hyperparameters call for [{length}]; convert it again")
        values = tuple(float(value) for value in self._read(name).reshape(-1))
        if not all(1e-6 <= value <= 1e31 for value in values):   # 1e30 stands for pairs that do not turn
            raise ModelError(f"tensor '{name}' holds a value that is not a positive number; download or convert the file again")
        self._consumed.add(name)
        return values

    def scalar(self, name: str, default: float) -> float:
        """The value of a tensor of one number, which becomes part of the spec; default where the file lacks it."""
        if name not in self._shapes:
            return default
        if tuple(self._shapes[name]) != (1,):
            raise ModelError(f"tensor '{name}' has shape {list(self._shapes[name])} where one number is needed; convert it again")
        value = float(self._read(name).reshape(-1)[0])
        if not 1e-30 <= abs(value) <= 1e30:
            raise ModelError(f"tensor '{name}' holds a value that is not a number or 0; download or convert the file again")
        self._consumed.add(name)
        return value

    def wrong(self, key: str, value: Any, needed: str) -> ModelError:
        """The error for a value that makes no sense."""
        return ModelError(f"metadata key '{self.architecture}.{key}' {_is_there(value)}; {needed}")

    def _flags(self, key: str, value: Any) -> tuple[bool, ...]:
        """The items of an array as true or false for each layer."""
        values = list(value) if is_array(value) else []
        if len(values) != self.n_layer or not all(among(v, (False, True)) for v in values):
            raise self.wrong(key, value, f"true or false is needed for each of {self.n_layer} layers")
        return tuple(map(bool, values))

    def _same_in_all(self, key: str, default: int) -> int:
        """A whole number that the file may also state layer by layer, where it is the same in all."""
        value = self.get(key)
        if not is_array(value):
            return self.count(key, default)
        values = set(self.by_layer(key, 0, MAX_COUNT))
        if len(values) > 1:
            raise Unsupported(f"'{self.architecture}.{key}' differs from layer to layer, which edgerun does not compute for this architecture; see docs/adding.md")
        same = values.pop()
        if not same or same % 1:
            raise self.wrong(key, same, f"a whole number from 1 to {MAX_COUNT} is needed")
        return int(same)

    def _layers(self) -> int:
        n = self.count("block_count", most=MAX_LAYERS)
        # Every layer has tensors, so a hostile count cannot make more work than the file has tensors.
        if n > len(self._shapes) or not any(name.startswith(f"blk.{n - 1}.") for name in self._shapes):
            raise self.wrong("block_count", n, "the file has tensors of fewer layers")
        return n


def among(value: Any, values: tuple[Any, ...]) -> bool:
    """Whether a value of any type, arrays included, is one of a few scalars."""
    return (value is None or isinstance(value, str | int | float)) and value in values


def is_array(value: Any) -> TypeGuard[Sequence[Any]]:
    """Whether a value is an array of the file's."""
    return isinstance(value, Sized) and isinstance(value, Iterable) and not isinstance(value, str)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_there(value: Any) -> str:
    """What is to be said of a value that is not right."""
    return "is missing" if value is None else f"is {shown(value)}"


def shown(value: Any) -> str:
    """An untrusted value for a message: no control characters, at most 80 characters."""
    if not isinstance(value, str | int | float):
        return f"a {type(value).__name__}"
    return ascii(value)[:80]
