"""The tokens of a file and what they are for, read from its metadata and checked. Knows no way to cut a text into them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgerun.dataclass import dataclass
from edgerun.text.attributes import BYTE, CONTROL, UNKNOWN, attributes, having
from edgerun.text.fields import PREFIX, flag, refuse, shown, strings
from edgerun.text.special import Specials


@dataclass(frozen=True)
class Settings:
    """What a kind of tokenizer takes for granted where the file says nothing.

    space_prefix: a space is put in front of a text. clean_spaces: `decode` drops spaces before .,?! and contractions.
    force_bos: BOS begins a text whatever the file says. sep_ends: SEP ends a text, not EOS.
    """

    bos: int | None = None
    eos: int | None = None
    unknown: int | None = None
    sep: int | None = None
    add_bos: bool = False
    add_eos: bool = False
    add_sep: bool = False
    force_bos: bool = False
    sep_ends: bool = False
    space_prefix: bool = False
    clean_spaces: bool = False


class Vocabulary:
    """The tokens by id and by text, their attributes, and the flags of the file or else of the settings.

    tokens: text of each id. ids: id of each text that plain text may become. withheld: id of each control or unknown
    token, which it may not. end: the id that ends a text, or None. attributes: a byte per token; in_file: the same before llama.cpp's rules changed any.
    """

    def __init__(self, metadata: Mapping[str, Any], settings: Settings, strict: bool = False):
        """Read `tokenizer.ggml.*`; raises TokenizerError, which names the key. strict: as for `Specials`."""
        self.tokens = _nonempty(strings(metadata, "tokens"))
        self.ids = dict(zip(self.tokens, range(len(self.tokens)), strict=True))
        if len(self.ids) != len(self.tokens):
            refuse(PREFIX + "tokens", f"has {len(self.tokens) - len(self.ids)} tokens with the text of another")
        self.attributes = attributes(metadata, len(self.tokens))
        self.in_file = bytes(self.attributes)
        for token in having(BYTE, self.attributes):
            if not re.fullmatch("<0x[0-9A-Fa-f]{2}>", self.tokens[token]):
                refuse(PREFIX + "tokens", f"has the byte token {shown(self.tokens[token])}, which is not of the form <0x0A>")
        defaults = {"bos": settings.bos, "eos": settings.eos, "unknown": settings.unknown, "sep": settings.sep}
        self.specials = Specials(metadata, defaults, self.tokens, self.ids, self.attributes, strict)
        self.withheld = {self.tokens[token]: token for token in having(CONTROL | UNKNOWN, self.attributes)}
        for text in self.withheld:
            del self.ids[text]
        self.add_bos = flag(metadata, "add_bos_token", settings.add_bos) or settings.force_bos
        self.add_eos = flag(metadata, "add_eos_token", settings.add_eos)
        self.add_sep = flag(metadata, "add_sep_token", settings.add_sep)
        self.space_prefix = flag(metadata, "add_space_prefix", settings.space_prefix)
        self.clean_spaces = settings.clean_spaces
        if self.add_bos and self.specials.bos is None:
            refuse(PREFIX + "bos_token_id", "is missing although BOS is to be added")
        if self.add_eos and self.specials.eos is None:
            refuse(PREFIX + "eos_token_id", "is missing although EOS is to be added")
        if settings.sep_ends and self.specials.sep is None:
            refuse(PREFIX + "seperator_token_id", "is missing although SEP is to be added")
        self.end = self.specials.sep if settings.sep_ends else self.specials.eos if self.add_eos else None

    def __len__(self) -> int:
        return len(self.tokens)

    def id_of(self, text: str) -> int | None:
        """The id of the token with this text, special or not."""
        token = self.ids.get(text)
        return self.withheld.get(text) if token is None else token

    def byte_token(self, byte: int) -> int | None:
        """The token `<0x0A>` of a byte, or else the one whose text is that byte."""
        token = self.ids.get(f"<0x{byte:02X}>")
        return self.ids.get(raw(byte)) if token is None else token


def raw(byte: int) -> str:
    """A byte as it stands in a token's text: ASCII, or a lone surrogate (PEP 383)."""
    return bytes((byte,)).decode("utf-8", "surrogateescape")


def _nonempty(tokens: Sequence[str]) -> Sequence[str]:
    """An empty text would be found everywhere; such tokens get llama.cpp's name."""
    return [text or f"[EMPTY_{token}]" for token, text in enumerate(tokens)] if "" in tokens else tokens
