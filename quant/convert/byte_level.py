"""BPE on bytes, of GPT-2 and most others since, as GGUF has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgerun.errors import TokenizerError
from edgerun.text.fields import PREFIX, shown
from quant.convert.definition import Definition
from quant.convert.documents import Documents
from quant.convert.parts import items
from quant.convert.parts import merges as checked
from quant.convert.pretokenizer import named, recognise
from quant.convert.sentencepiece_model import NORMAL
from quant.convert.tokens import Entry, Tokens, added, entries


def byte_level(documents: Documents, tokenizer: dict[str, Any], vocab: Any, merges: Any, count: int | None, pre: str | None) -> Iterator[Entry]:
    """BPE on bytes, of GPT-2 and most others since."""
    tokens = Tokens(count)
    for text, id in items(vocab):
        tokens.place(id, text, NORMAL)
    tokens.add(added(documents))
    texts, types, _ = tokens.lists
    merges = checked(merges)
    yield PREFIX + "model", "gpt2", "str"
    plain = [text for text, type in zip(texts, types, strict=True) if type == NORMAL]
    yield PREFIX + "pre", pre or _pre(documents, tokenizer, plain, merges), "str"
    yield from entries(texts, types)
    yield PREFIX + "merges", merges, "str"


def _pre(documents: Documents, tokenizer: dict[str, Any], texts: list[str], merges: list[str]) -> str:
    model_type = next(filter(named, documents.model_types), "")
    if not tokenizer:
        name = named(model_type)
        if name is None:
            raise TokenizerError("vocab.json and merges.txt do not say how text is cut into words; name the pre-tokenizer with --pre NAME")
        return name
    _composed_only(tokenizer.get("normalizer"))
    whole = tokenizer["model"].get("ignore_merges") is True
    cleaned = documents.json("tokenizer_config.json").get("clean_up_tokenization_spaces") is True
    return recognise(Definition(tokenizer), texts, merges, whole, cleaned, model_type)


def _composed_only(normalizer: Any) -> None:
    """Of what is done to a text before it is cut, the file format knows NFC only, and that by the pre-tokenizer's name."""
    parts = normalizer.get("normalizers") if isinstance(normalizer, dict) and normalizer.get("type") == "Sequence" else [normalizer]
    for part in parts if isinstance(parts, list) else [parts]:
        if part is not None and not (isinstance(part, dict) and part.get("type") == "NFC"):
            raise TokenizerError(f"tokenizer.json: a GGUF cannot say that text is normalized by {shown(part)}; --pre NAME leaves that out")
