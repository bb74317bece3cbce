"""What sort of token each is: a byte of attributes per token. Knows no text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from edgerun.text.fields import PREFIX, numbers, refuse

# A token may have several. Control and unknown tokens are never found in plain text; user-defined ones always are.
UNKNOWN, UNUSED, NORMAL, CONTROL, USER_DEFINED, BYTE = 1, 2, 4, 8, 16, 32
SPECIAL = UNKNOWN | CONTROL | USER_DEFINED

# By `tokenizer.ggml.token_type`: undefined, normal, unknown, control, user-defined, unused, byte.
_BY_TYPE = bytes((0, NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE))


def attributes(metadata: Mapping[str, Any], count: int) -> bytearray:
    """The attributes of `count` tokens, all normal where the file does not say; raises TokenizerError."""
    types = numbers(metadata, "token_type", count)
    if types is None:
        return bytearray((NORMAL,)) * count
    try:
        values = bytearray(types)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        values = bytearray(b"\xff")
    if max(values) >= len(_BY_TYPE):
        refuse(PREFIX + "token_type", "has a type that is not a whole number from 0 to 6")
    return values.translate(_BY_TYPE.ljust(256))


def having(sought: int, values: bytes | bytearray) -> list[int]:
    """Ids of the tokens with any of the attributes `sought`."""
    return [found.start() for found in _pattern(sought).finditer(values)]


@cache
def _pattern(sought: int) -> re.Pattern[bytes]:
    return re.compile(b"[" + b"".join(b"\\x%02x" % value for value in range(64) if value & sought) + b"]")
