"""Tokens with scores, of SentencePiece's models and of what a tokenizer.json makes of them, as GGUF has them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

from edgerun.errors import TokenizerError
from edgerun.text.fields import PREFIX, shown
from quant.convert.documents import Documents
from quant.convert.parts import items, mentions, part, prefixed
from quant.convert.parts import merges as checked
from quant.convert.sentencepiece_model import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, SentencePieceModel
from quant.convert.tokens import Entry, Tokens, added, entries

_BYTE = re.compile("<0x[0-9A-Fa-f]{2}>")
_HIGHEST = 1e30        # of a score
_UNREACHED = -1e9   # the score of a token that no merge makes
# Gemma 4 tells by control tokens what is a tool call or thought; they are shown, so that they can be read.
_SHOWN = ("<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>')


def sentencepiece(documents: Documents, proto: SentencePieceModel, count: int | None) -> Iterator[Entry]:
    """SentencePiece with scored tokens, of Llama 2 and Gemma."""
    yield PREFIX + "model", "llama", "str"
    yield PREFIX + "pre", "default", "str"
    yield from entries(*_pieces(documents, proto, count).lists)
    if not proto.add_dummy_prefix:
        yield PREFIX + "add_space_prefix", False, "bool"


def characters(documents: Documents, tokenizer: dict[str, Any], model: dict[str, Any], count: int | None) -> Iterator[Entry]:
    """BPE on characters with a token for each byte, as SentencePiece's models become in a tokenizer.json."""
    if not model.get("byte_fallback"):
        raise TokenizerError("tokenizer.json: BPE on characters without byte_fallback cannot be expressed in a GGUF")
    gemma4 = any(each.startswith("gemma4") for each in documents.model_types)
    merges, tokens = checked(model.get("merges")), Tokens(count)
    ranks: dict[str, float] = {}
    for rank, merge in enumerate(merges):
        ranks.setdefault(merge.replace(" ", "", 1), -float(rank))
    for text, id in items(model.get("vocab")):
        byte = isinstance(text, str) and _BYTE.fullmatch(text)
        score = -1000.0 if gemma4 else 0.0 if byte or len(text) == 1 else ranks.get(text, _UNREACHED)
        tokens.place(id, text, BYTE if byte else NORMAL, score)
    tokens.add(added(documents))
    texts, types, scores = tokens.lists
    if gemma4:
        types = [USER_DEFINED if text in _SHOWN else type for text, type in zip(texts, types, strict=True)]
    yield PREFIX + "model", "gemma4" if gemma4 else "llama", "str"
    if not gemma4:
        yield PREFIX + "pre", "default", "str"
    yield from entries(texts, types, scores)
    if gemma4:
        yield PREFIX + "merges", merges, "str"
    if gemma4 or not prefixed(tokenizer):
        yield PREFIX + "add_space_prefix", False, "bool"


def unigram(
    documents: Documents, tokenizer: dict[str, Any], model: dict[str, Any], proto: SentencePieceModel | None, count: int | None
) -> Iterator[Entry]:
    """Unigram, of T5, XLM-RoBERTa and multilingual encoders."""
    vocab, unknown = model.get("vocab"), model.get("unk_id")
    if not isinstance(vocab, list):
        raise TokenizerError("tokenizer.json: the Unigram vocabulary is not a list")
    tokens = Tokens(count)
    for id, pair in enumerate(vocab):
        if not isinstance(pair, list) or len(pair) != 2 or type(pair[1]) not in (int, float) or not -_HIGHEST < pair[1] < _HIGHEST:
            raise TokenizerError(f"tokenizer.json: the entry {shown(pair)} is not a token with a score")
        tokens.place(id, pair[0], UNKNOWN if id == unknown else NORMAL, float(pair[1]))
    more = [each for each in added(documents) if each.id != unknown]
    tokens.add([each for each in more if each.id >= len(vocab)])
    for id, text, special in more:
        if id < len(vocab):
            tokens.place(id, text, CONTROL if special else USER_DEFINED, float(vocab[id][1]))
    squeezed = mentions(tokenizer, "WhitespaceSplit") or '{"Regex": " {2,}"}' in str(tokenizer.get("normalizer")).replace("'", '"')
    yield PREFIX + "model", "t5", "str"
    yield PREFIX + "pre", "default", "str"
    yield from entries(*tokens.lists)
    yield from _normalization(prefixed(tokenizer), proto.remove_extra_whitespaces if proto else squeezed, _charsmap(tokenizer.get("normalizer")))


def unigram_proto(documents: Documents, proto: SentencePieceModel, count: int | None) -> Iterator[Entry]:
    """Unigram where SentencePiece's model is all there is."""
    yield PREFIX + "model", "t5", "str"
    yield PREFIX + "pre", "default", "str"
    yield from entries(*_pieces(documents, proto, count).lists)
    yield from _normalization(proto.add_dummy_prefix, proto.remove_extra_whitespaces, proto.charsmap)


def _pieces(documents: Documents, proto: SentencePieceModel, count: int | None) -> Tokens:
    tokens = Tokens(count)
    for id, (text, score, type) in enumerate(zip(proto.pieces, proto.scores, proto.types, strict=True)):
        if count is None or id < count:
            tokens.place(id, text, type, score)
    tokens.add(added(documents))
    return tokens


def _normalization(prefix: bool, squeezed: bool, charsmap: bytes) -> Iterator[Entry]:
    yield PREFIX + "add_space_prefix", prefix, "bool"
    yield PREFIX + "remove_extra_whitespaces", squeezed, "bool"
    if charsmap:
        yield PREFIX + "precompiled_charsmap", list(charsmap), "u8"


def _charsmap(normalizer: Any) -> bytes:
    text = part(normalizer, "Precompiled").get("precompiled_charsmap") or ""
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise TokenizerError("tokenizer.json: the precompiled_charsmap is not in base 64") from None
