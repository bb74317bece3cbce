"""Where a text of U+2581 for spaces may be cut into words without changing a merge. Knows no vocabulary."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

SPACE = "\u2581"
_SHORT = 4096        # characters that are merged uncut before it pays to look at the whole vocabulary
_APART = "\ud800"    # in no text and in no token


class Gaps:
    """Cuts before a space, except after characters that some merge joins with a space.

    Vocabularies hold few such merges (gemma has one, after `>`), so words are short, and most have been met before.
    """

    def __init__(self, texts: Callable[[], Iterable[str]], joint: str):
        """texts: all that holds a merge, asked for when enough text has come. joint: what they have between the two merged."""
        self._texts, self._joint = texts, joint
        self._uncut = _SHORT
        self._pattern: re.Pattern[str] | None = None

    def split(self, text: str) -> list[str]:
        """The words of a text; they join to it."""
        if self._pattern is None:
            self._uncut -= len(text)
            if self._uncut >= 0:
                return [text]
            before = set(re.findall(f"([^{SPACE}{_APART}]){self._joint}{SPACE}", _APART.join(self._texts())))
            self._pattern = re.compile(f"(?<=[^{SPACE}{re.escape(''.join(before))}])(?={SPACE})")
        return self._pattern.split(text)
