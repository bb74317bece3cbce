"""The ids of words met before: texts repeat their words. Bounded. Knows not how a word becomes ids."""

from __future__ import annotations

from collections.abc import Callable

_LONGEST = 48     # characters of a word that is kept
_MOST = 1 << 16   # words kept, about 15 MB


class Remembered(dict[str, list[int]]):
    """A mapping from word to ids that asks `encode` for a word it does not hold."""

    def __init__(self, encode: Callable[[str], list[int]]):
        """encode: the ids of a word, which nobody changes afterwards."""
        super().__init__()
        self._encode = encode

    def __missing__(self, word: str) -> list[int]:
        ids = self._encode(word)
        if len(word) <= _LONGEST:
            if len(self) >= _MOST:
                self.clear()
            self[word] = ids
        return ids
