"""The vocabulary of a checkpoint folder as GGUF has it: every key of `tokenizer.*`, made from Hugging Face's and SentencePiece's files.

Only JSON, text and SentencePiece's protocol buffers are parsed. What a GGUF cannot say is refused: a vocabulary that cuts
text in another way than its model knows would make answers worse, and nobody would see why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgerun.errors import TokenizerError
from edgerun.text.families import FAMILIES
from edgerun.text.fields import PREFIX, shown
from edgerun.text.pretokenize import family
from quant.convert.byte_level import byte_level
from quant.convert.chat_templates import chat_templates
from quant.convert.documents import Documents
from quant.convert.parts import mentions
from quant.convert.scored import characters, sentencepiece, unigram, unigram_proto
from quant.convert.sentencepiece_model import BPE, UNIGRAM, SentencePieceModel
from quant.convert.special_tokens import SpecialTokens
from quant.convert.tokens import MOST, Entry
from quant.convert.wordpiece import wordpiece

_PROTOS = ("tokenizer.model", "spiece.model", "sentencepiece.model")
_FOREIGN = ("tekken.json", "tiktoken.model", "qwen.tiktoken", "sentencepiece.bpe.model", "rwkv_vocab_v20230424.txt")


def vocabulary(folder: Path, n_vocab: int | None = None, *, pre: str | None = None) -> list[Entry]:
    """GGUF keys, values and the writer's types of `tokenizer.*`.

    n_vocab: rows of the embedding; ids without a token are unused, added tokens beyond have no embedding and are left out;
    by default as many as config.json says. pre: the name of the pre-tokenizer, for one that is not recognised.
    Raises ModelError (TokenizerError, TemplateError) for files that are missing, make no sense or that GGUF cannot express.
    """
    try:
        return [*_entries(Documents(folder), n_vocab, pre)]
    except RecursionError:
        raise TokenizerError("a JSON file of the checkpoint is nested too deeply") from None


def _entries(documents: Documents, n_vocab: int | None, pre: str | None) -> Iterable[Entry]:
    if pre is not None and not any(pre in each.names.split() for each in FAMILIES):
        raise TokenizerError(f"--pre {shown(pre)} is no name of a pre-tokenizer; known are {' '.join(each.names for each in FAMILIES)}")
    found = [*_kind(documents, _count(documents, n_vocab), pre)]
    values = {key: value for key, value, _ in found}
    texts = values[PREFIX + "tokens"]
    specials = SpecialTokens(documents, {text: id for id, text in enumerate(texts)}, len(texts))
    if PREFIX + "merges" in values and PREFIX + "pre" in values and family(values[PREFIX + "pre"])[0].add_bos:
        specials.adds.setdefault("bos", False)   # else the name alone would add one
    more = (*specials.entries(), *chat_templates(documents), *_segments(documents, values), *_prefix(documents, values))
    return {entry[0]: entry for entry in (*found, *more)}.values()


def _count(documents: Documents, n_vocab: int | None) -> int | None:
    config = documents.json("config.json")
    nested = config.get("text_config")
    for count in (n_vocab, config.get("vocab_size"), nested.get("vocab_size") if isinstance(nested, dict) else None):
        if count is not None:
            if type(count) is not int or not 0 < count <= MOST:
                raise TokenizerError(f"a vocabulary of {shown(count)} tokens makes no sense")
            return count
    return None


def _kind(documents: Documents, count: int | None, pre: str | None) -> Iterator[Entry]:
    """Everything but what tokens are for, by the kind of the vocabulary."""
    tokenizer = documents.json("tokenizer.json")
    model = tokenizer.get("model")
    model = model if isinstance(model, dict) else {}
    kind = model.get("type") or ("BPE" if "merges" in model else "WordPiece" if "continuing_subword_prefix" in model else None)
    by_bytes = mentions(tokenizer, "ByteLevel")
    proto = _proto(documents) if not (kind == "BPE" and by_bytes) else None
    if proto is not None and proto.kind == BPE:
        return sentencepiece(documents, proto, count)
    if kind == "Unigram":
        return unigram(documents, tokenizer, model, proto, count)
    if proto is not None and proto.kind == UNIGRAM:
        return unigram_proto(documents, proto, count)
    if kind == "WordPiece" or (not kind and documents.has("vocab.txt")):
        return wordpiece(documents, tokenizer, model, count)
    if kind == "BPE" and not by_bytes:
        return characters(documents, tokenizer, model, count)
    if kind == "BPE":
        return byte_level(documents, tokenizer, model.get("vocab"), model.get("merges"), count, pre)
    if not kind and documents.has("vocab.json") and documents.has("merges.txt"):
        lines = documents.text("merges.txt").split("\n")
        return byte_level(documents, {}, documents.json("vocab.json"), [line for line in lines if line and not line.startswith("#version")], count, pre)
    foreign = next((name for name in _FOREIGN if documents.has(name)), None)
    what = f"has {foreign}, which is not read here" if foreign else f"has a tokenizer of the unknown kind {shown(kind)}" if kind else "has none"
    raise TokenizerError(f"the folder {what}; needed is a tokenizer.json or a tokenizer.model of SentencePiece")


def _proto(documents: Documents) -> SentencePieceModel | None:
    """SentencePiece's model, None where there is none; tokenizer.model may be another thing where a tokenizer.json stands beside it."""
    for name in _PROTOS:
        if documents.has(name):
            try:
                return SentencePieceModel.parse(documents.read(name))
            except TokenizerError:
                if not documents.has("tokenizer.json"):
                    raise
    return None


def _segments(documents: Documents, values: Mapping[str, Any]) -> Iterator[Entry]:
    """How many kinds of segments an encoder knows."""
    kinds = documents.json("config.json").get("type_vocab_size", 1 if values[PREFIX + "model"] == "bert" else None)
    if type(kinds) is int and 0 <= kinds < 1 << 32:
        yield PREFIX + "token_type_count", kinds, "u32"


def _prefix(documents: Documents, values: Mapping[str, Any]) -> Iterator[Entry]:
    """Whether a space is put in front of a text, where tokenizer_config.json says so: it goes before the files beside it."""
    value = documents.json("tokenizer_config.json").get("add_prefix_space")
    if isinstance(value, bool) and PREFIX + "scores" in values and values[PREFIX + "model"] != "gemma4":
        yield PREFIX + "add_space_prefix", value, "bool"
