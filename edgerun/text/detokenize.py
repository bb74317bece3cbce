"""Pieces of bytes joined to text. Knows no vocabulary."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable


class Detokenizer:
    """Text that grows id by id. What it has given so far never ends in half a character, and bad bytes become U+FFFD.

    All that push and flush return, joined, is the whole's `decode("utf-8", "replace")`.
    """

    def __init__(self, piece: Callable[[int], bytes]):
        """piece: the bytes of a token."""
        self._piece = piece
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that has become certain with this token; often empty within a character of several tokens."""
        return self._decoder.decode(self._piece(token))

    def flush(self) -> str:
        """What is left at the end: nothing, or U+FFFD for a character that was never finished. The next push starts anew."""
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return text


def clean_spaces(text: bytes) -> bytes:
    """Without the spaces that some tokenizers put before punctuation and contractions, by llama.cpp's rules."""
    text = re.sub(rb" (?=[?!.,])", b"", text)
    text = re.sub(rb" ' ", b"'", text)
    return re.sub(rb" (?='(?:s|m|re|ve))", b"", text)
