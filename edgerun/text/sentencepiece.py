"""SentencePiece with scored tokens (`tokenizer.ggml.model` = llama). Knows no special token.

A space is U+2581. Characters are merged to the neighbouring pair whose token has the highest score; a character without a
token becomes its bytes' tokens.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from edgerun.text.fields import PREFIX, numbers, refuse
from edgerun.text.gaps import SPACE, Gaps
from edgerun.text.merge import merge
from edgerun.text.remember import Remembered
from edgerun.text.vocabulary import Settings, Vocabulary

_UNREADABLE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


class SentencePiece:
    """Text to ids by the scores of tokens. warning: what is doubtful about the file, or None."""

    warning: str | None = None

    def __init__(self, metadata: Mapping[str, Any], strict: bool = False):
        """Read the vocabulary and its scores; raises TokenizerError. strict: U+2581 is a space for user-defined tokens too."""
        self.vocabulary = Vocabulary(metadata, Settings(bos=1, eos=2, unknown=0, add_bos=True, space_prefix=True), strict)
        self._strict = strict
        scores = numbers(metadata, "scores", len(self.vocabulary))
        if scores is None:
            refuse(PREFIX + "scores", "is missing")
        if (total := sum(scores)) != total:
            refuse(PREFIX + "scores", "has scores that are not numbers")
        self._scores = scores
        self._gaps = Gaps(lambda: self.vocabulary.tokens, joint="")
        self._remembered = Remembered(self._word)

    def readable(self, text: str) -> str:
        """The text without lone surrogates, but for those that stand for a byte (PEP 383): they become that byte's token."""
        if text.isascii():
            return text
        return _UNREADABLE.sub("\ufffd", text.replace(SPACE, " ") if self._strict else text)

    def encode(self, text: str, start: bool, out: list[int]) -> None:
        """Append the ids of a text that holds no special token. start: whether the text or a special token begins here."""
        if start and self.vocabulary.space_prefix:
            text = " " + text
        remembered = self._remembered
        for each in self._gaps.split(text.replace(" ", SPACE)):
            out += remembered[each]

    def piece(self, text: str) -> bytes:
        """The bytes that a normal token with this text stands for."""
        return text.replace(SPACE, " ").encode("utf-8", "surrogateescape")

    @cached_property
    def _rank(self) -> Callable[[str, int], int]:
        """The rank of a pair by the text of both: the higher the token's score, the lower."""
        # The bits of a float32 grow with its size, so that no score has to be compared as a float.
        bits = array("i", array("f", self._scores).tobytes())
        id_of = self.vocabulary.ids.get

        def rank(text: str, default: int) -> int:
            token = id_of(text)
            if token is None:
                return default
            value = bits[token]
            return 0x7FFFFFFF - value if value >= 0 else value + 0xFFFFFFFF

        return rank

    @cached_property
    def _bytes(self) -> list[tuple[int, ...]]:
        """The token of each byte, or the unknown token, or nothing."""
        tokens = [self.vocabulary.byte_token(byte) for byte in range(256)]
        unknown = self.vocabulary.specials.unknown
        return [(token,) if token is not None else (unknown,) if unknown is not None else () for token in tokens]

    def _word(self, text: str) -> list[int]:
        ids: list[int] = []
        for part in merge(list(text), self._rank, ""):
            token = self.vocabulary.ids.get(part)
            if token is not None:
                ids.append(token)
            else:
                for byte in part.encode("utf-8", "surrogateescape"):
                    ids += self._bytes[byte]
        return ids
