"""Arrays of strings as they lie in a file, a u64 length before each, which is where a start with a large vocabulary spends its time.

Knows no key. Walking from length to length takes 250 ns a string. But lengths are small, so between two strings there are six zeros or
more: all lengths are found at once, and the walk is done for all at once, to check that it was them.
"""

from __future__ import annotations

import struct

_LENGTH = struct.Struct("<Q").unpack_from
MANY = 1000   # strings from which on it pays


def decode(data: bytes, count: int) -> list[str]:
    """`count` checked strings that fill `data`; what is not UTF-8 becomes lone surrogates (PEP 383)."""
    found = _at_once(data, count) if count >= MANY else None
    return one_by_one(data, 0, count)[0] if found is None else found


def one_by_one(data: bytes, at: int, count: int) -> tuple[list[str], int]:
    """`count` checked strings from byte `at` on, and where they end."""
    strings = []
    for _ in range(count):
        start = at + 8
        at = start + _LENGTH(data, at)[0]
        strings.append(data[start:at].decode("utf-8", "surrogateescape"))
    return strings, at


def _at_once(data: bytes, count: int) -> list[str] | None:
    """The same, or None where that is not what was found: a string has 65536 bytes or more, or zeros in it."""
    import numpy as np

    x = np.frombuffer(data, np.uint8)
    zero = x == 0
    zeros = zero[2:-5].copy()   # [p]: bytes p + 2 to p + 7, the upper ones of a length at p
    for i in range(3, 8):
        zeros &= zero[i : len(x) - 7 + i]
    starts = np.flatnonzero(zeros & ~np.append(zeros[1:], False))   # a length below 256 is the last of two such places
    if len(starts) != count:
        return None
    ends = starts + 8 + x[starts] + 256 * x[starts + 1].astype(np.int64)
    if starts[0] or ends[-1] != len(x) or not np.array_equal(ends[:-1], starts[1:]):
        return None
    kept = np.ones(len(x), bool)
    for i in range(7):
        kept[starts + i] = False   # of a length one zero stays, as what the strings are split by
    found = x[kept].tobytes().decode("utf-8", "surrogateescape").split("\0")[1:]
    return found if len(found) == count else None
