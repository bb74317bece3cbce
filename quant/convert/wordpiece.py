"""WordPiece, of BERT, as GGUF has it: tokens in the middle of a word have no mark, the others begin with U+2581."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgerun.errors import TokenizerError
from edgerun.text.fields import PREFIX, shown
from edgerun.text.gaps import SPACE
from quant.convert.documents import Documents
from quant.convert.parts import items, mentions, part
from quant.convert.sentencepiece_model import CONTROL, NORMAL
from quant.convert.special_tokens import named
from quant.convert.tokens import Entry, Tokens, added, entries


def wordpiece(documents: Documents, tokenizer: dict[str, Any], model: dict[str, Any], count: int | None) -> Iterator[Entry]:
    """WordPiece, of BERT. Tokens in the middle of a word have no mark in a GGUF; the others begin with U+2581."""
    config = documents.json("tokenizer_config.json")
    prefix = model.get("continuing_subword_prefix", "##")
    if prefix != "##":
        raise TokenizerError(f"tokenizer.json: WordPiece with the prefix {shown(prefix)} cannot be expressed in a GGUF")
    tokens = Tokens(count)
    vocab = items(model.get("vocab")) if tokenizer else ((text, id) for id, text in enumerate(documents.text("vocab.txt").rstrip("\n").split("\n")))
    for text, id in vocab:
        tokens.place(id, text, NORMAL)
    tokens.add(added(documents))
    texts, types, _ = tokens.lists
    special = set(named(documents).values()) if not tokenizer else set()
    types = [CONTROL if text in special else type for text, type in zip(texts, types, strict=True)]
    yield PREFIX + "model", "bert", "str"
    yield PREFIX + "pre", "bert-bge", "str"
    yield from entries([text if type == CONTROL else _marked(text) for text, type in zip(texts, types, strict=True)], types)
    normalizer = part(tokenizer.get("normalizer"), "BertNormalizer")
    lowercase = normalizer.get("lowercase", mentions(tokenizer, "Lowercase")) if tokenizer else config.get("do_lower_case", True)
    strip_accents = normalizer.get("strip_accents") if tokenizer else config.get("strip_accents")
    yield PREFIX + "normalizer.lowercase", lowercase is True, "bool"
    if isinstance(strip_accents, bool):
        yield PREFIX + "normalizer.strip_accents", strip_accents, "bool"


def _marked(text: str) -> str:
    return text[2:] if text.startswith("##") else SPACE + text
