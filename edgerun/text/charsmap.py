"""The rules by which SentencePiece replaces characters before it cuts a text (`precompiled_charsmap`). Knows no token.

A charsmap holds a trie as a double array (doi:10.1109/32.31365), which finds the rule for the longest beginning of a text, and
then the replacements, each ended by a zero byte. A node of the array has 32 bits:

    bits 0-7     the byte that leads to it     bit 31       set: no node but a rule, the other bits are the place of its replacement
    bit 8        a rule ends here              bits 9-30    where its children are

The child for a byte is at (children ^ byte), the rule at the place of the child for byte 0.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Iterator
from functools import cached_property

from edgerun.text.fields import PREFIX, refuse

KEY = PREFIX + "precompiled_charsmap"
_LONGEST = 64        # characters that a rule replaces
_LARGEST = 256       # bytes that it puts in their place
_STEPS = 1 << 20     # nodes looked at to learn which characters rules join
_RULE = 1 << 31
_NO_RULES = (1024).to_bytes(4, "little") + bytes(1025)
_BAD = "\ufffd"      # what becomes of a lone surrogate


class Charsmap:
    """Text with each longest beginning that has a rule replaced, over and over. Time linear in the text."""

    def __init__(self, data: bytes):
        """data: the value of the key, empty for no rules. Raises TokenizerError for one whose parts do not fit."""
        data = data or _NO_RULES
        size = int.from_bytes(data[:4], "little")
        if size % 4 or not 4 <= size < len(data) - 4:
            refuse(KEY, f"has {len(data)} bytes, of which {size} are the array")
        self._nodes = array("I", data[4 : 4 + size])
        if sys.byteorder == "big":
            self._nodes.byteswap()
        self._replacements = data[4 + size :]
        self._steps = 0
        self._single = _Single(self)

    def normalize(self, text: str) -> str:
        """The text with its replacements. Raises TokenizerError where the charsmap leads nowhere."""
        parts = self._joined.split(text)
        parts[::2] = [part.translate(self._single) for part in parts[::2]]
        parts[1::2] = map(self._stretch, parts[1::2])
        return "".join(parts)

    def longest(self, text: str, start: int) -> tuple[int, str] | None:
        """The end of the longest beginning of text[start:] with a rule, and what replaces it."""
        found = None
        place = self._children(0, 0)
        for end in range(start, min(len(text), start + _LONGEST)):
            for byte in text[end].encode("utf-8", "surrogatepass"):
                place ^= byte
                if byte == 0 or self._node(place) & (_RULE | 0xFF) != byte:
                    return found
                node, place = place, self._children(place, place)
            if self._node(node) & 0x100:
                found = end + 1, self._replacement(self._node(place))
        return found

    def _stretch(self, text: str) -> str:
        """A stretch in which rules may take several characters."""
        parts = []
        at = 0
        while at < len(text):
            found = self.longest(text, at)
            end, part = found or (at + 1, self._single[ord(text[at])])
            parts.append(part)
            at = end
        return "".join(parts)

    @cached_property
    def _joined(self) -> re.Pattern[str]:
        """The stretches in which rules may take several characters: those that rules have after their first, and one before."""
        later: set[str] = set()
        seen: set[int] = set()
        places = [place for _, place in self._characters(self._children(0, 0))]
        while places:
            if (place := places.pop()) not in seen:
                seen.add(place)
                for character, following in self._characters(place):
                    later.add(character)
                    places.append(following)
        members = "".join(map(re.escape, sorted(later)))
        return re.compile(f"([^{members}]?[{members}]+)" if later else "((?!))", re.DOTALL)

    def _characters(self, place: int) -> Iterator[tuple[str, int]]:
        """Each character that may come next where the children are at `place`, and where its own are."""
        open_ends = [(b"", place)]
        while open_ends:
            read, at = open_ends.pop()
            for node in self._families.get(at, ()):
                self._steps += 1
                if self._steps > _STEPS:
                    refuse(KEY, f"takes more than {_STEPS} steps to read")
                some = read + bytes((self._nodes[node] & 0xFF,))
                following = self._children(node, node)
                try:
                    yield some.decode(), following
                except UnicodeDecodeError:
                    if len(some) < 4:
                        open_ends.append((some, following))

    @cached_property
    def _families(self) -> dict[int, list[int]]:
        """The nodes by the place of the children that they are among."""
        families: dict[int, list[int]] = {}
        for at, node in enumerate(self._nodes):
            if node < _RULE and node & 0xFF:
                families.setdefault(at ^ node & 0xFF, []).append(at)
        return families

    def _node(self, at: int) -> int:
        if at >= len(self._nodes):
            refuse(KEY, f"leads to node {at} of {len(self._nodes)}")
        return self._nodes[at]

    def _children(self, at: int, origin: int) -> int:
        node = self._node(at)
        return origin ^ (node >> 10 << (node >> 6 & 8))

    def _replacement(self, rule: int) -> str:
        start = rule & ~_RULE
        end = self._replacements.find(0, start, start + _LARGEST + 1)
        if end < 0:
            refuse(KEY, f"has a replacement at {start} that does not end within {_LARGEST} bytes")
        return self._replacements[start:end].decode("utf-8", "replace")


class _Single(dict[int, str]):
    """A table for `str.translate` of characters by themselves, filled as they are met."""

    def __init__(self, charsmap: Charsmap):
        super().__init__()
        self._charsmap = charsmap

    def __missing__(self, code: int) -> str:
        character = chr(code)
        found = self._charsmap.longest(character, 0)
        self[code] = folded = found[1] if found else _BAD if 0xD800 <= code < 0xE000 else character
        return folded
