"""SentencePiece's model file: pieces with scores and types, and how text is normalized. Knows no GGUF.

A message of protocol buffers (https://protobuf.dev/programming-guides/encoding, sentencepiece_model.proto): fields of a number
and a wire type, one after another, nested twice at most here. Only what a vocabulary needs is kept; nothing is trusted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from edgerun.errors import TokenizerError

# What a piece is, by the proto file's numbers, which are those of GGUF's token types.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
UNIGRAM, BPE = 1, 2   # kinds of models
_MOST_PIECES = 4_000_000
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3   # fields of the model
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}


@dataclass(frozen=True)
class SentencePieceModel:
    """pieces: texts by id. scores, types: of each. kind: UNIGRAM, BPE or another number of the proto file.

    charsmap: rules by which characters are replaced. add_dummy_prefix: a space is put in front of a text;
    remove_extra_whitespaces: white space at the ends and repeated is dropped.
    """

    pieces: list[str]
    scores: list[float]
    types: list[int]
    kind: int
    charsmap: bytes
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool

    @classmethod
    def parse(cls, content: bytes) -> SentencePieceModel:
        """Raises TokenizerError for bytes that are no such model."""
        view = memoryview(content)
        pieces: list[str] = []
        scores: list[float] = []
        types: list[int] = []
        trainer, normalizer = memoryview(b""), memoryview(b"")
        for field, value in _fields(view):
            if field == _PIECES and isinstance(value, memoryview):
                if len(pieces) == _MOST_PIECES:
                    raise _wrong(f"has more than {_MOST_PIECES:,} pieces")
                text, score, kind = _piece(value)
                pieces.append(text)
                scores.append(score)
                types.append(kind)
            elif field == _TRAINER and isinstance(value, memoryview):
                trainer = value
            elif field == _NORMALIZER and isinstance(value, memoryview):
                normalizer = value
        if not pieces:
            raise _wrong("holds no pieces")
        kinds, rules = dict(_fields(trainer)), dict(_fields(normalizer))
        charsmap = rules.get(2, b"")
        return cls(
            pieces, scores, types, _number(kinds.get(3, UNIGRAM)), bytes(charsmap) if isinstance(charsmap, memoryview) else b"",
            bool(_number(rules.get(3, 1))), bool(_number(rules.get(4, 1))),
        )  # fmt: skip


def _piece(message: memoryview) -> tuple[str, float, int]:
    text, score, kind = "", 0.0, NORMAL
    for field, value in _fields(message):
        if field == 1 and isinstance(value, memoryview):
            try:
                text = str(value, "utf-8")
            except UnicodeDecodeError:
                raise _wrong("has a piece that is not UTF-8") from None
        elif field == 2 and isinstance(value, memoryview) and len(value) == 4:
            (score,) = struct.unpack("<f", value)
        elif field == 3:
            kind = _number(value)
    if not NORMAL <= kind <= BYTE or score != score:
        raise _wrong("has a piece of an unknown type or without a score")
    return text, score, kind


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field: an int for a varint, else the bytes."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        field, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield field, value
            continue
        if wire == _BYTES:
            size, at = _varint(message, at)
        elif wire in _WIDTHS:
            size = _WIDTHS[wire]
        else:
            raise _wrong(f"has a field of the unknown wire type {wire}")
        if size > end - at:
            raise _wrong("ends in the middle of a field")
        yield field, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise _wrong("ends in the middle of a number")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _wrong("has a number of more than 70 bits")


def _number(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise _wrong("has bytes where a number belongs")
    return value


def _wrong(what: str) -> TokenizerError:
    return TokenizerError(f"the SentencePiece model {what}; it cannot be used")
