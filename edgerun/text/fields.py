"""The values of `tokenizer.ggml.*`, checked. Each getter raises TokenizerError, which names the key. Knows not what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from edgerun.errors import TokenizerError

PREFIX = "tokenizer.ggml."


def refuse(key: str, what: str) -> NoReturn:
    """Raise TokenizerError about `key`; `what` says what is wrong."""
    raise TokenizerError(f"{key} {what}; the vocabulary in the file cannot be used")


def shown(value: object) -> str:
    """An untrusted value for a message: ASCII, no control characters, at most 80 characters."""
    return ascii(value)[:80]


def strings(metadata: Mapping[str, Any], name: str) -> Sequence[str]:
    """The list of strings `tokenizer.ggml.{name}`, which must be there and not empty."""
    values = metadata.get(PREFIX + name)
    if not values:
        refuse(PREFIX + name, "is missing or empty")
    if not isinstance(values, (list, tuple)) or set(map(type, values)) != {str}:
        refuse(PREFIX + name, "is not a list of strings")
    return values


def numbers(metadata: Mapping[str, Any], name: str, count: int) -> Sequence[float] | None:
    """The list of numbers `tokenizer.ggml.{name}`, one for each of `count` tokens, or None where the file has none."""
    values = metadata.get(PREFIX + name)
    if values is None:
        return None
    if not isinstance(values, (list, tuple)) or not set(map(type, values)) <= {int, float}:
        refuse(PREFIX + name, "is not a list of numbers")
    if len(values) != count:
        refuse(PREFIX + name, f"has {len(values)} entries for {count} tokens")
    return values


def flag(metadata: Mapping[str, Any], name: str, default: bool) -> bool:
    """The bool `tokenizer.ggml.{name}`."""
    value = metadata.get(PREFIX + name, default)
    if type(value) is not bool:
        refuse(PREFIX + name, f"is {shown(value)}, not true or false")
    return value


def token_id(metadata: Mapping[str, Any], name: str) -> int | None:
    """The whole number `tokenizer.ggml.{name}_token_id`, unchecked against the vocabulary, or None where the file has none."""
    key = f"{PREFIX}{name}_token_id"
    value = metadata.get(key)
    if value is not None and type(value) is not int:
        refuse(key, f"is {shown(value)}, not a token id")
    return value


def word(metadata: Mapping[str, Any], key: str) -> str:
    """The string at `key` (in full), empty where the file has none."""
    value = metadata.get(key, "")
    if type(value) is not str:
        refuse(key, f"is {shown(value)}, not a string")
    return value
