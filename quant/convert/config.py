"""The numbers of a config.json, asked for by name and checked. Untrusted: a value of another type ends in a ModelError.

Knows the forms that configurations come in, and no family.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgerun.errors import ModelError
from edgerun.gguf.file import shown

LARGEST = 3.4e38   # of float32, which every number becomes
_MAX_COUNT = 1 << 31


class Config:
    """A configuration; that of the text model where there are several.

    tokens: how many tokens the vocabulary has, where that is known. pooling: how an embedding is made of hidden rows, by GGUF's
    number, None where nothing says so. Names are tried in their order, separated by spaces; null counts as missing.
    """

    def __init__(self, values: Mapping[str, Any], defaults: Mapping[str, Any] | None = None, tokens: int | None = None, pooling: int | None = None) -> None:
        text = values.get("text_config")
        self._values = {**(defaults or {}), **{k: v for k, v in {**values, **(text if isinstance(text, dict) else {})}.items() if v is not None}}
        self.tokens, self.pooling = tokens, pooling

    def get(self, names: str) -> Any:
        """The first value there is, unchecked; None where there is none."""
        return next((self._values[name] for name in names.split() if name in self._values), None)

    def count(self, names: str, default: int | None = None) -> int:
        """A whole number from 0."""
        value = self._or(names, default)
        if type(value) is not int or not 0 <= value < _MAX_COUNT:
            raise self._wrong(names, value, "a whole number")
        return value

    def number(self, names: str, default: float | None = None) -> float:
        """A finite number."""
        value = self._or(names, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
            raise self._wrong(names, value, "a number")
        return float(value)

    def flag(self, names: str, default: bool = False) -> bool:
        """true or false."""
        value = self._or(names, default)
        if not isinstance(value, bool):
            raise self._wrong(names, value, "true or false")
        return value

    def items(self, names: str, count: int) -> list[Any]:
        """A list of `count` values."""
        value = self.get(names)
        if not isinstance(value, list) or len(value) != count:
            raise self._wrong(names, value, f"a list of {count}")
        return value

    def section(self, names: str) -> Config:
        """An object within; an empty one where it is missing."""
        value = self.get(names)
        if value is not None and not isinstance(value, dict):
            raise self._wrong(names, value, "an object")
        return Config(value or {})

    @property
    def layers(self) -> int:
        """How many layers the model has."""
        return self.count("num_hidden_layers n_layers n_layer num_layers")

    @property
    def heads(self) -> int:
        """Query heads, one at least."""
        return max(1, self.count("num_attention_heads n_head n_heads"))

    @property
    def kv_heads(self) -> int:
        """Key/value heads, one at least; as many as query heads where nothing else is said."""
        return max(1, self.count("num_key_value_heads n_kv_heads", self.heads))

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.count("head_dim", self.count("hidden_size n_embd d_model dim") // self.heads)

    def _or(self, names: str, default: Any) -> Any:
        value = self.get(names)
        value = default if value is None else value
        if value is None:
            raise ModelError(f"config.json lacks {' or '.join(names.split())}")
        return value

    def _wrong(self, names: str, value: Any, what: str) -> ModelError:
        name = next((name for name in names.split() if name in self._values), names.split()[0])
        return ModelError(f"config.json: {name} is {shown(repr(value))}, not {what}")


def labels(c: Config) -> list[Any] | None:
    """The classes that a classifier tells apart, in their order; None where there are none."""
    named = c.get("id2label")
    return [named.get(str(i)) for i in range(len(named))] if isinstance(named, dict) and named else None
