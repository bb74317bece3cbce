"""Text to token ids and back, whatever the kind of vocabulary: `tokenizer_from(metadata)`. Knows no model and no template.

A kind is a file of this folder whose class reads the metadata and encodes text between special tokens (see `Kind`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol

from edgerun.errors import TokenizerError, UsageError
from edgerun.text.attributes import BYTE, CONTROL, NORMAL, SPECIAL, UNKNOWN, USER_DEFINED
from edgerun.text.detokenize import Detokenizer, clean_spaces
from edgerun.text.fields import PREFIX, shown, word
from edgerun.text.partition import Partition
from edgerun.text.vocabulary import Vocabulary

# `tokenizer.ggml.model`: the file of the kind and its class.
_KINDS = {
    "gpt2": ("bpe", "BPE"),
    "gemma4": ("bpe", "BPE"),
    "llama": ("sentencepiece", "SentencePiece"),
    "bert": ("wordpiece", "WordPiece"),
    "t5": ("unigram", "Unigram"),
}


class Kind(Protocol):
    """What a kind of tokenizer has: a vocabulary, a doubt about the file, and three functions. Made of (metadata, strict)."""

    vocabulary: Vocabulary
    warning: str | None

    def readable(self, text: str) -> str:
        """The text as special tokens are looked for in it, of the same length: without what the kind cannot read."""

    def encode(self, text: str, start: bool, out: list[int]) -> None:
        """Append the ids of a text that holds no special token. start: whether the text or a special token begins here."""

    def piece(self, text: str) -> bytes:
        """The bytes that a normal token with this text stands for."""


def tokenizer_from(metadata: Mapping[str, Any], strict: bool = False) -> Tokenizer:
    """The tokenizer that the metadata of a GGUF file describes.

    strict: where llama.cpp gives other ids than the tokenizer that the model was trained with, and the difference is known,
    give those (docs/decisions/013-strict-tokenizers.md). Raises TokenizerError where the vocabulary is of an unknown kind, incomplete or contradicts itself.
    """
    model = word(metadata, PREFIX + "model")
    if model not in _KINDS:
        what = f"is {shown(model)}, which edgerun cannot read" if model else "is missing"
        raise TokenizerError(f"{PREFIX}model {what}; known are {', '.join(_KINDS)}")
    module, name = _KINDS[model]
    kind: Kind = getattr(import_module(f"edgerun.text.{module}"), name)(metadata, strict)
    return Tokenizer(kind, Partition(kind.vocabulary, metadata, strict), strict)


class Tokenizer:
    """Ids of a text, and text of ids, as llama.cpp gives them, or as the model knows them (strict). Safe to use from several threads.

    n_vocab: tokens. bos, eos, sep: ids or None. eog: every id that ends a generation. add_bos: whether a text begins with BOS.
    warning: one line to show to the user where the file leaves something in doubt, else None.
    """

    def __init__(self, kind: Kind, partition: Partition, strict: bool = False):
        """Use `tokenizer_from`."""
        vocabulary = kind.vocabulary
        self._within = USER_DEFINED if strict else 0   # attributes of tokens that are part of the text they stand in
        self._kind, self._partition, self._vocabulary = kind, partition, vocabulary
        self._pieces: dict[int, bytes] = {}
        self.n_vocab = len(vocabulary)
        self.bos, self.eos, self.sep = vocabulary.specials.bos, vocabulary.specials.eos, vocabulary.specials.sep
        self.eog = vocabulary.specials.eog
        self.add_bos, self.add_eos = vocabulary.add_bos, vocabulary.add_eos
        self.warning = kind.warning

    def encode(self, text: str, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Ids of a text. add_special: BOS and EOS (or CLS and SEP) where the file wants them. parse_special: control tokens in it are found.

        Without parse_special the text of a control token stays text; tokens that the file calls user-defined are found
        always. Characters that are not Unicode (lone surrogates) become U+FFFD.
        """
        ids = [self.bos] if add_special and self.add_bos and self.bos is not None else []
        self._encode(self._partition.cut(self._kind.readable(text), parse_special), ids)
        if add_special and self._vocabulary.end is not None:
            ids.append(self._vocabulary.end)
        return ids

    def encode_pieces(self, pieces: Sequence[tuple[str, bool]], add_special: bool = True) -> list[int]:
        """Ids of a prompt made of (text, trusted): control tokens are found in trusted text only.

        The same ids as `encode` gives for the joined text, as far as no control token is involved. With add_special the
        prompt begins with exactly one BOS where the file wants one; no EOS is added, for an answer is to follow.
        """
        text = self._kind.readable("".join(text for text, _ in pieces))
        untrusted = bytearray().join(bytes((not trusted,)) * len(text) for text, trusted in pieces)
        parts = self._partition.cut(text, True, untrusted)
        ids = [self.bos] if add_special and self.add_bos and self.bos is not None and parts[:1] != [self.bos] else []
        self._encode(parts, ids)
        return ids

    def decode(self, ids: Iterable[int], remove_special: bool = False, unparse_special: bool = False) -> str:
        """Text of ids, as llama.cpp's detokenize. remove_special: without the BOS and EOS that encode adds.

        unparse_special: control tokens are rendered too. Bytes that are not UTF-8 become U+FFFD. Raises UsageError for an
        id that is not in the vocabulary.
        """
        ids = list(ids)
        strip = self._vocabulary.space_prefix
        if remove_special and self.add_bos and ids[:1] == [self.bos]:
            ids, strip = ids[1:], False
        if remove_special and self.add_eos and ids[-1:] == [self.eos]:
            ids.pop()
        pieces = [self.piece(token, unparse_special) for token in ids]
        if strip and pieces:
            pieces[0] = pieces[0].removeprefix(b" ")
        text = b"".join(pieces)
        return (clean_spaces(text) if self._vocabulary.clean_spaces else text).decode("utf-8", "replace")

    def piece(self, token: int, special: bool = False) -> bytes:
        """The bytes of a token; those of a control token only with `special`, else none. Raises UsageError for no token."""
        if not 0 <= token < self.n_vocab:
            raise UsageError(f"token id {token} is not in the vocabulary of {self.n_vocab} tokens")
        attributes = self._vocabulary.attributes[token]
        if attributes & (CONTROL | UNKNOWN) and not special:
            return b""
        if token not in self._pieces:
            self._pieces[token] = self._render(self._vocabulary.tokens[token], attributes)
        return self._pieces[token]

    def token_text(self, token: int) -> str:
        """The text of a token as the file has it, spaces and bytes still in disguise."""
        self.piece(token)
        return self._vocabulary.tokens[token]

    def detokenizer(self, skip_special: bool = True, keep: Collection[str] = ()) -> Detokenizer:
        """Text that grows id by id, for streaming: the joined pieces, which llama.cpp shows of a generation too.

        keep: control tokens whose text is wanted all the same.
        """
        kept = {token for text in keep for token in self.encode(text, add_special=False, parse_special=True) if self.token_text(token) == text}
        return Detokenizer(lambda token: self.piece(token, not skip_special or token in kept))

    def _encode(self, parts: list[str | int], ids: list[int]) -> None:
        start = True
        for part in parts:
            if isinstance(part, str):
                self._kind.encode(part, start, ids)
                start = False
            else:
                within = bool(self._vocabulary.attributes[part] & self._within)
                if start and within:
                    self._kind.encode("", start, ids)
                ids.append(part)
                start = not within

    def _render(self, text: str, attributes: int) -> bytes:
        if attributes & SPECIAL:
            return text.encode("utf-8", "surrogateescape")
        if attributes & NORMAL:
            return self._kind.piece(text)
        return bytes((int(text[3:5], 16),)) if attributes & BYTE else b""
