"""Text that remembers which of its characters were quoted from messages. Knows nothing of templates or tokens.

A chat template mixes its own markup with what users wrote, and only the markup may become special tokens. A `Quoted` is
a str with one flag per character (1: quoted from a message, 0: the template's own), and the operations of str carry the
flags along: it compares, hashes, searches and prints as the str it is, so a template cannot tell the difference.
Where an operation cannot follow the characters, its whole result counts as quoted: the error is always on the safe side.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, SupportsIndex

_RUN = re.compile(rb"\x00+|\x01+")


class Quoted(str):
    """A str whose `flags` (bytes, one per character) say what was quoted. Make one with `quote`."""

    __slots__ = ("flags",)

    flags: bytes

    @classmethod
    def of(cls, text: str, flags: bytes) -> Self:
        """`text` with these flags."""
        made = str.__new__(cls, str.__str__(text))
        made.flags = flags
        return made

    def __str__(self) -> str:
        return self   # str(x) must not lose the flags

    def __iter__(self) -> Iterator[str]:
        for at in range(len(self)):
            yield self._cut(at, at + 1)

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        if isinstance(key, slice):
            return Quoted.of(str.__getitem__(self, key), self.flags[key])
        at = operator.index(key)
        return Quoted.of(str.__getitem__(self, at), bytes((self.flags[at],)))

    def __add__(self, other: str) -> str:
        return gather((self, other)) if isinstance(other, str) else NotImplemented

    def __radd__(self, other: str) -> str:
        return gather((other, self)) if isinstance(other, str) else NotImplemented

    def __mul__(self, times: SupportsIndex) -> str:
        return Quoted.of(str.__mul__(self, times), self.flags * times)

    __rmul__ = __mul__

    def _cut(self, start: int, stop: int) -> str:
        return Quoted.of(str.__getitem__(self, slice(start, stop)), self.flags[start:stop])

    # cutting: the pieces stand in the text in order, so a search from the last cut finds each

    def _pieces(self, pieces: Iterable[str], gap: int = 0) -> list[str]:
        cuts, at = [], 0
        for piece in pieces:
            at = str.find(self, piece, at)
            cuts.append(self._cut(at, at + len(piece)))
            at += len(piece) + gap
        return cuts

    def strip(self, chars: str | None = None, /) -> str:
        """As str.strip."""
        start = len(self) - len(str.lstrip(self, chars))
        return self._cut(start, max(start, len(str.rstrip(self, chars))))

    def lstrip(self, chars: str | None = None, /) -> str:
        """As str.lstrip."""
        return self._cut(len(self) - len(str.lstrip(self, chars)), len(self))

    def rstrip(self, chars: str | None = None, /) -> str:
        """As str.rstrip."""
        return self._cut(0, len(str.rstrip(self, chars)))

    def removeprefix(self, prefix: str, /) -> str:
        """As str.removeprefix."""
        return self._cut(len(self) - len(str.removeprefix(self, prefix)), len(self))

    def removesuffix(self, suffix: str, /) -> str:
        """As str.removesuffix."""
        return self._cut(0, len(str.removesuffix(self, suffix)))

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        """As str.split."""
        return self._pieces(str.split(self, sep, maxsplit), len(sep or ""))

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        """As str.rsplit."""
        return self._pieces(str.rsplit(self, sep, maxsplit), len(sep or ""))

    def splitlines(self, keepends: bool = False) -> list[str]:
        """As str.splitlines."""
        lines = self._pieces(str.splitlines(self, True))
        return lines if keepends else [line[: len(bare)] for line, bare in zip(lines, str.splitlines(self), strict=True)]

    def partition(self, sep: str, /) -> tuple[str, str, str]:
        """As str.partition."""
        head, middle, tail = self._pieces(str.partition(self, sep))
        return head, middle, tail

    def rpartition(self, sep: str, /) -> tuple[str, str, str]:
        """As str.rpartition."""
        at = len(str.rpartition(self, sep)[0])
        found = str.rpartition(self, sep)[1]
        return self._cut(0, at), self._cut(at, at + len(found)), self._cut(at + len(found), len(self))

    # building: each part brings its own flags

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> str:
        """As str.replace."""
        if not old:
            return quote(str.replace(self, old, new, count))
        return Quoted.of(new, flags_of(new)).join(self.split(old, count))

    def join(self, parts: Iterable[str], /) -> str:
        """As str.join."""
        out: list[str] = []
        for part in parts:
            out += (self, part) if out else (part,)
        return gather(out)

    def center(self, width: SupportsIndex, fill: str = " ", /) -> str:
        """As str.center."""
        return self._padded(str.center(self, width, fill), fill)

    def ljust(self, width: SupportsIndex, fill: str = " ", /) -> str:
        """As str.ljust."""
        return self._padded(str.ljust(self, width, fill), fill)

    def rjust(self, width: SupportsIndex, fill: str = " ", /) -> str:
        """As str.rjust."""
        return self._padded(str.rjust(self, width, fill), fill)

    def _padded(self, text: str, fill: str) -> str:
        return quote(text) if 1 in self.flags or 1 in flags_of(fill) else text

    # changing letters: the flags stay where the letters stay

    def _changed(self, text: str) -> str:
        return Quoted.of(text, self.flags) if len(text) == len(self) else quote(text)

    def lower(self) -> str:
        """As str.lower."""
        return self._changed(str.lower(self))

    def upper(self) -> str:
        """As str.upper."""
        return self._changed(str.upper(self))

    def title(self) -> str:
        """As str.title."""
        return self._changed(str.title(self))

    def capitalize(self) -> str:
        """As str.capitalize."""
        return self._changed(str.capitalize(self))

    def casefold(self) -> str:
        """As str.casefold."""
        return self._changed(str.casefold(self))

    def swapcase(self) -> str:
        """As str.swapcase."""
        return self._changed(str.swapcase(self))

    def zfill(self, width: SupportsIndex, /) -> str:
        """As str.zfill."""
        return quote(str.zfill(self, width))


def quote(text: str) -> Quoted:
    """`text`, all of it quoted."""
    return Quoted.of(text, b"\x01" * len(text))


def flags_of(text: str) -> bytes:
    """The flags of any str; a plain one is nobody's quotation."""
    return text.flags if isinstance(text, Quoted) else bytes(len(text))


def gather(parts: Iterable[str]) -> str:
    """The parts joined; a plain str where none of them is a Quoted."""
    parts = list(parts)
    text = "".join(parts)
    if not any(isinstance(part, Quoted) for part in parts):
        return text
    return Quoted.of(text, b"".join(map(flags_of, parts)))


def pieces(text: str) -> list[tuple[str, bool]]:
    """The stretches of `text` in order, as long as they can be: (stretch, whether it is the template's own)."""
    plain = str.__str__(text)
    return [(plain[run.start() : run.end()], not run.group()[0]) for run in _RUN.finditer(flags_of(text))]


def has_quoted(value: Any) -> bool:
    """Whether a quoted character is anywhere in `value`, down through lists, tuples and dicts."""
    if isinstance(value, str):
        return isinstance(value, Quoted) and 1 in value.flags
    if isinstance(value, dict):
        return any(map(has_quoted, value)) or any(map(has_quoted, value.values()))
    return isinstance(value, (list, tuple)) and any(map(has_quoted, value))


def quote_all(value: Any) -> Any:
    """A copy of `value` (str, number, None, list, tuple, mapping, nested) in which every str is quoted; TypeError for other things."""
    if isinstance(value, str):
        return quote(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {quote_all(key): quote_all(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [quote_all(item) for item in value]
    raise TypeError(f"a {type(value).__name__} cannot be part of a message")
