"""WordPiece (`tokenizer.ggml.model` = bert). Knows no special token.

A text is lowered, stripped of accents and cut into words at white space, punctuation and Chinese characters. Of each word
the longest beginning that is a token is taken, then the longest of what is left (arXiv:1609.08144, section 4.1).
Tokens that begin a word begin with U+2581 in the file.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from edgerun.text.characters import MARK, OTHER, PUNCTUATION, SPACE, shapes
from edgerun.text.fields import PREFIX, flag, refuse, token_id
from edgerun.text.gaps import SPACE as BEGIN
from edgerun.text.remember import Remembered
from edgerun.text.vocabulary import Settings, Vocabulary

# Categories Cc, Cf, Cs and Co of Unicode 15.1 that are not white space, U+0000 and U+FFFD: left out of a text.
_CONTROL = re.compile(
    "[\0-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064"
    "\u2066-\u206f\ud800-\uf8ff\ufeff\ufff9-\ufffb\ufffd\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0001\U000e0020-\U000e007f\U000f0000-\U000ffffd\U00100000-\U0010fffd]"
)
# Each is a word of its own: Chinese characters (not Japanese or Korean letters), and whatever in ASCII is no letter or digit.
_ALONE = re.compile(
    "[!-/:-@\\[-`{-~\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b81f\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f]"
)
_WHITE = re.compile("[\t-\r ]")
_LONGEST_WORD = 100   # characters, for BERT's own tokenizer; llama.cpp knows no limit


class WordPiece:
    """Text to ids by the longest token first. warning: what is doubtful about the file, or None."""

    warning: str | None = None

    def __init__(self, metadata: Mapping[str, Any], strict: bool = False):
        """Read the vocabulary and how text is normalized; raises TokenizerError. strict: words as in BERT's own tokenizer."""
        # Files name what begins a text as `cls` or as `bos`.
        first = token_id(metadata, "cls")
        settings = Settings(
            bos=101 if first is None else first, unknown=100, sep=102, force_bos=True, sep_ends=True, add_sep=True, clean_spaces=True
        )
        self.vocabulary = Vocabulary(metadata, settings, strict)
        lowercase = flag(metadata, "normalizer.lowercase", True)
        strip_accents = flag(metadata, "normalizer.strip_accents", lowercase)
        self._folded = (_FoldedTruly if strict else _Folded)(lowercase, strip_accents)
        self._longest = _LONGEST_WORD if strict else None
        unknown = self.vocabulary.specials.unknown
        if unknown is None:
            refuse(PREFIX + "unknown_token_id", "is missing")
        self._unknown = unknown
        self._remembered = Remembered(self._word)

    def readable(self, text: str) -> str:
        """The text as it is: lone surrogates are left out as control characters are."""
        return text

    def encode(self, text: str, start: bool, out: list[int]) -> None:
        """Append the ids of a text that holds no special token. start: whether the text or a special token begins here."""
        remembered = self._remembered
        for word in self._folded.fold(text).split(" "):
            if word:
                out += remembered[word]

    def piece(self, text: str) -> bytes:
        """The bytes that a normal token with this text stands for."""
        return text.replace(BEGIN, " ").encode("utf-8", "surrogateescape")

    @cached_property
    def _lengths(self) -> list[int]:
        """How long tokens are, in characters: the longest first."""
        return sorted(set(map(len, self.vocabulary.ids)), reverse=True)

    def _word(self, word: str) -> list[int]:
        if self._longest and (len(word) > self._longest or BEGIN in word):
            return [self._unknown]
        id_of, text = self.vocabulary.ids.get, BEGIN + word
        ids: list[int] = []
        at = 0
        while at < len(text):
            left = len(text) - at
            for length in self._lengths:
                if length <= left and (token := id_of(text[at : at + length])) is not None:
                    ids.append(token)
                    at += length
                    break
            else:
                return [self._unknown]
        return ids


class _Folded(dict[int, str]):
    """A table for `str.translate`, filled as characters are met: to nothing, a space, a word of its own, or a letter of a word."""

    def __init__(self, lowercase: bool, strip_accents: bool):
        super().__init__()
        self._lowercase, self._strip_accents = lowercase, strip_accents

    def fold(self, text: str) -> str:
        """The words of a text, with spaces between."""
        return text.translate(self)

    def __missing__(self, code: int) -> str:
        self[code] = folded = self._character(chr(code))
        return folded

    def _character(self, character: str) -> str:
        assigned = shapes()[ord(character)] != OTHER   # in Unicode 15.1, whatever this Python knows
        if assigned and self._strip_accents:
            # Of a character with marks the first alone is kept, as by llama.cpp: a Hangul syllable becomes its first letter.
            character = unicodedata.normalize("NFD", character)[0]
        sort = shapes()[ord(character)]
        if sort == SPACE or _WHITE.match(character):
            return " "
        if _CONTROL.match(character) or (self._strip_accents and sort == MARK):
            return ""
        folded = character.lower()[0] if assigned and self._lowercase else character
        return f" {folded} " if sort == PUNCTUATION or _ALONE.match(character) else folded


class _FoldedTruly(_Folded):
    """The same as BERT's own tokenizer has it: all of a decomposition but for nonspacing marks, and less white space."""

    def fold(self, text: str) -> str:
        """The words of a text, with spaces between."""
        return super().fold(unicodedata.normalize("NFD", text) if self._strip_accents else text)

    def _character(self, character: str) -> str:
        if character in "\x0b\x0c\x85":
            return ""
        kept = shapes()[ord(character)] == MARK and unicodedata.category(character) != "Mn"
        return character if kept else super()._character(character)
