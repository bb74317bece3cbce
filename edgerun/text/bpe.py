"""Byte-level BPE (`tokenizer.ggml.model` = gpt2), and BPE on characters with byte tokens (gemma4). Knows no special token.

A text is cut into words, each word written in GPT-2's alphabet of 256 characters, one per byte, and its characters merged
in the order of the file's merges.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import repeat
from operator import contains
from typing import Any

from edgerun.text.families import COMPOSED, OF_ARCHITECTURE
from edgerun.text.fields import PREFIX, refuse, shown, strings, word
from edgerun.text.gaps import SPACE, Gaps
from edgerun.text.merge import merge
from edgerun.text.pretokenize import Split, family, splitter
from edgerun.text.remember import Remembered
from edgerun.text.vocabulary import Settings, Vocabulary, raw


def _alphabet() -> str:
    """GPT-2's character for each byte: itself where printable, else the next one from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return "".join(chr(byte if byte in printable else next(others)) for byte in range(256))


ALPHABET = _alphabet()
_BYTES = codecs.charmap_build(ALPHABET)
_SURROGATE = re.compile("[\ud800-\udfff]")


class BPE:
    """Text to ids by merges in the file's order. warning: what is doubtful about the file, or None."""

    def __init__(self, metadata: Mapping[str, Any], strict: bool = False):
        """Read the vocabulary, the pre-tokenizer and the merges; raises TokenizerError. strict: words as the model was trained on."""
        gemma4 = word(metadata, PREFIX + "model") == "gemma4"
        name = "gemma4" if gemma4 else word(metadata, PREFIX + "pre")
        if strict and not name:
            name = OF_ARCHITECTURE.get(word(metadata, "general.architecture"), "")
        self._family, self.warning = family(name)
        self._strict, self._composed = strict, strict and name in COMPOSED
        settings = Settings(
            bos=None if gemma4 else self._family.bos,
            eos=None if gemma4 else 11,
            add_bos=self._family.add_bos,
            add_sep=self._family.add_sep,
            force_bos=self._family.force_bos,
            clean_spaces=self._family.clean_spaces,
        )
        self.vocabulary = Vocabulary(metadata, settings, strict)
        self._merges = _merges(metadata) if self._family.needs_merges or PREFIX + "merges" in metadata else []
        self._remembered = Remembered(self._word)

    def readable(self, text: str) -> str:
        """The text without lone surrogates."""
        return text if text.isascii() else _SURROGATE.sub("\ufffd", text)

    def encode(self, text: str, start: bool, out: list[int]) -> None:
        """Append the ids of a text that holds no special token. start: whether the text or a special token begins here."""
        if self._composed:
            text = unicodedata.normalize("NFC", text)
        remembered = self._remembered
        for each in self._split(text):
            out += remembered[each]

    def piece(self, text: str) -> bytes:
        """The bytes that a normal token with this text stands for."""
        if self._family.escape_spaces:
            return text.replace(SPACE, " ").encode("utf-8", "surrogateescape")
        try:
            return codecs.charmap_encode(text, "strict", _BYTES)[0]
        except UnicodeEncodeError:
            return b"".join(_foreign(character, text) for character in text)

    @cached_property
    def _split(self) -> Split:
        split = splitter((self._strict and self._family.trained) or self._family.steps, self._strict)
        if not self._family.escape_spaces:
            return split
        gaps = Gaps(lambda: self._merges, joint=" ")
        return lambda text: [word for line in split(text.replace(" ", SPACE)) for word in gaps.split(line)]

    @cached_property
    def _ranks(self) -> dict[str, int]:
        # Backwards, so that the first of two equal merges is the one that stays.
        return dict(zip(reversed(self._merges), range(len(self._merges) - 1, -1, -1), strict=True))

    def _word(self, text: str) -> list[int]:
        letters = codecs.charmap_decode(text.encode(), "strict", ALPHABET)[0] if self._family.byte_level else text
        known = self.vocabulary.ids
        if letters in known and (self._family.whole_words or (self._family.newline_runs and text[0] == "\n")):
            return [known[letters]]
        ids: list[int] = []
        for part in merge(list(letters), self._ranks.get, " "):
            token = known.get(part)
            ids += self._bytes(part) if token is None else (token,)
        return ids

    def _bytes(self, part: str) -> list[int]:
        """A symbol without a token, byte by byte, as far as its bytes have tokens."""
        spell = raw if self._family.byte_level else "<0x{:02X}>".format
        tokens = [self.vocabulary.ids.get(spell(byte)) for byte in part.encode("utf-8", "surrogateescape")]
        return [token for token in tokens if token is not None]


def _merges(metadata: Mapping[str, Any]) -> Sequence[str]:
    merges = strings(metadata, "merges")
    if not all(map(contains, merges, repeat(" "))):
        bad = next(merge for merge in merges if " " not in merge)
        refuse(PREFIX + "merges", f"has the entry {shown(bad)}, which is not two tokens with a space between")
    return merges


def _foreign(character: str, text: str) -> bytes:
    """llama.cpp's rendering of a character that may not be in the alphabet."""
    try:
        return codecs.charmap_encode(character, "strict", _BYTES)[0]
    except UnicodeEncodeError:
        code = character.encode("utf-8", "surrogateescape").hex()
        return f"[UNK_BYTE_0x{code}".encode() + text.encode("utf-8", "surrogateescape") + b"]"
