"""The vocabulary of a checkpoint folder as GGUF has it: every key of `tokenizer.*`, made from Hugging Face's and SentencePiece's files.

Only JSON, text and SentencePiece's protocol buffers are parsed. What a GGUF cannot say is refused: a vocabulary that cuts
text in another way than its model knows would make answers worse, and nobody would see why.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgerun.errors import TokenizerError
from edgerun.text.families import FAMILIES
from edgerun.text.fields import PREFIX, shown
from edgerun.text.gaps import SPACE
from edgerun.text.pretokenize import family
from quant.convert.chat_templates import chat_templates
from quant.convert.definition import Definition
from quant.convert.documents import Documents
from quant.convert.pretokenizer import named, recognise
from quant.convert.sentencepiece_model import BPE, BYTE, CONTROL, NORMAL, UNIGRAM, UNKNOWN, USER_DEFINED, SentencePieceModel
from quant.convert.special_tokens import SpecialTokens
from quant.convert.special_tokens import named as named_specials
from quant.convert.tokens import MOST, Tokens, added, entries

Entry = tuple[str, Any, str | None]

_PROTOS = ("tokenizer.model", "spiece.model", "sentencepiece.model")
_FOREIGN = ("tekken.json", "tiktoken.model", "qwen.tiktoken", "sentencepiece.bpe.model", "rwkv_vocab_v20230424.txt")
_BYTE = re.compile("<0x[0-9A-Fa-f]{2}>")
_UNREACHED = -1e9   # the score of a token that no merge makes
# Gemma 4 tells by control tokens what is a tool call or thought; they are shown, so that they can be read.
_SHOWN = ("<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>')


def vocabulary(folder: Path, n_vocab: int | None = None, *, pre: str | None = None) -> list[Entry]:
    """GGUF keys, values and the writer's types of `tokenizer.*`.

    n_vocab: rows of the embedding; ids without a token are unused, added tokens beyond have no embedding and are left out;
    by default as many as config.json says. pre: the name of the pre-tokenizer, for one that is not recognised.
    Raises ModelError (TokenizerError, TemplateError) for files that are missing, make no sense or that GGUF cannot express.
    """
    documents = Documents(folder)
    if pre is not None and not any(pre in each.names.split() for each in FAMILIES):
        raise TokenizerError(f"--pre {shown(pre)} is no name of a pre-tokenizer; known are {' '.join(each.names for each in FAMILIES)}")
    found = [*_kind(documents, _count(documents, n_vocab), pre)]
    values = {key: value for key, value, _ in found}
    texts = values[PREFIX + "tokens"]
    specials = SpecialTokens(documents, {text: id for id, text in enumerate(texts)}, len(texts))
    if PREFIX + "merges" in values and PREFIX + "pre" in values and family(values[PREFIX + "pre"])[0].add_bos:
        specials.adds.setdefault("bos", False)   # else the name alone would add one
    by_key = {entry[0]: entry for entry in (*found, *specials.entries(), *chat_templates(documents), *_overrides(documents))}
    return [*by_key.values()]


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
    by_bytes = _mentions(tokenizer, "ByteLevel")
    proto = _proto(documents) if not (kind == "BPE" and by_bytes) else None
    if proto is not None and proto.kind == BPE:
        return _sentencepiece(documents, proto, count)
    if kind == "Unigram":
        return _unigram(documents, tokenizer, model, proto, count)
    if proto is not None and proto.kind == UNIGRAM:
        return _unigram_proto(documents, proto, count)
    if kind == "WordPiece" or (not kind and documents.has("vocab.txt")):
        return _wordpiece(documents, tokenizer, model, count)
    if kind == "BPE" and not by_bytes:
        return _characters(documents, tokenizer, model, count)
    if kind == "BPE":
        return _byte_level(documents, tokenizer, model.get("vocab"), model.get("merges"), count, pre)
    if not kind and documents.has("vocab.json") and documents.has("merges.txt"):
        lines = documents.text("merges.txt").splitlines()
        return _byte_level(documents, {}, documents.json("vocab.json"), [line for line in lines if line and not line.startswith("#version")], count, pre)
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


def _byte_level(documents: Documents, tokenizer: dict[str, Any], vocab: Any, merges: Any, count: int | None, pre: str | None) -> Iterator[Entry]:
    """BPE on bytes, of GPT-2 and most others since."""
    tokens = Tokens(count)
    for text, id in _items(vocab):
        tokens.place(id, text, NORMAL)
    tokens.add(added(documents))
    texts, types, _ = tokens.lists
    merges = _merges(merges)
    yield PREFIX + "model", "gpt2", "str"
    plain = [text for text, type in zip(texts, types, strict=True) if type == NORMAL]
    yield PREFIX + "pre", pre or _pre(documents, tokenizer, plain, merges), "str"
    yield from entries(texts, types)
    yield PREFIX + "merges", merges, "str"
    yield from _segments(documents)


def _pre(documents: Documents, tokenizer: dict[str, Any], texts: list[str], merges: list[str]) -> str:
    model_type = str(documents.json("config.json").get("model_type"))
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


def _characters(documents: Documents, tokenizer: dict[str, Any], model: dict[str, Any], count: int | None) -> Iterator[Entry]:
    """BPE on characters with a token for each byte, as SentencePiece's models become in a tokenizer.json."""
    if not model.get("byte_fallback"):
        raise TokenizerError("tokenizer.json: BPE on characters without byte_fallback cannot be expressed in a GGUF")
    gemma4 = str(documents.json("config.json").get("model_type")).startswith("gemma4")
    merges, tokens = _merges(model.get("merges")), Tokens(count)
    ranks: dict[str, float] = {}
    for rank, merge in enumerate(merges):
        ranks.setdefault(merge.replace(" ", "", 1), -float(rank))
    for text, id in _items(model.get("vocab")):
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
    if gemma4 or not _prefixed(tokenizer):
        yield PREFIX + "add_space_prefix", False, "bool"


def _sentencepiece(documents: Documents, proto: SentencePieceModel, count: int | None) -> Iterator[Entry]:
    """SentencePiece with scored tokens, of Llama 2 and Gemma."""
    yield PREFIX + "model", "llama", "str"
    yield PREFIX + "pre", "default", "str"
    yield from entries(*_pieces(documents, proto, count).lists)
    if not proto.add_dummy_prefix:
        yield PREFIX + "add_space_prefix", False, "bool"


def _pieces(documents: Documents, proto: SentencePieceModel, count: int | None) -> Tokens:
    tokens = Tokens(count)
    for id, (text, score, type) in enumerate(zip(proto.pieces, proto.scores, proto.types, strict=True)):
        if count is None or id < count:
            tokens.place(id, text, type, score)
    tokens.add(added(documents))
    return tokens


def _unigram_proto(documents: Documents, proto: SentencePieceModel, count: int | None) -> Iterator[Entry]:
    yield PREFIX + "model", "t5", "str"
    yield PREFIX + "pre", "default", "str"
    yield from entries(*_pieces(documents, proto, count).lists)
    yield from _normalization(proto.add_dummy_prefix, proto.remove_extra_whitespaces, proto.charsmap)
    yield from _segments(documents)


def _unigram(
    documents: Documents, tokenizer: dict[str, Any], model: dict[str, Any], proto: SentencePieceModel | None, count: int | None
) -> Iterator[Entry]:
    """Unigram, of T5, XLM-RoBERTa and multilingual encoders."""
    vocab, unknown = model.get("vocab"), model.get("unk_id")
    if not isinstance(vocab, list):
        raise TokenizerError("tokenizer.json: the Unigram vocabulary is not a list")
    tokens = Tokens(count)
    for id, pair in enumerate(vocab):
        if not isinstance(pair, list) or len(pair) != 2 or type(pair[1]) not in (int, float) or pair[1] != pair[1]:
            raise TokenizerError(f"tokenizer.json: the entry {shown(pair)} is not a token with a score")
        tokens.place(id, pair[0], UNKNOWN if id == unknown else NORMAL, float(pair[1]))
    more = [each for each in added(documents) if each.id != unknown]
    tokens.add([each for each in more if each.id >= len(vocab)])
    for id, text, special in more:
        if id < len(vocab):
            tokens.place(id, text, CONTROL if special else USER_DEFINED, float(vocab[id][1]))
    squeezed = _mentions(tokenizer, "WhitespaceSplit") or '{"Regex": " {2,}"}' in str(tokenizer.get("normalizer")).replace("'", '"')
    yield PREFIX + "model", "t5", "str"
    yield PREFIX + "pre", "default", "str"
    yield from entries(*tokens.lists)
    yield from _normalization(_prefixed(tokenizer), proto.remove_extra_whitespaces if proto else squeezed, _charsmap(tokenizer.get("normalizer")))
    yield from _segments(documents)


def _normalization(prefix: bool, squeezed: bool, charsmap: bytes) -> Iterator[Entry]:
    yield PREFIX + "add_space_prefix", prefix, "bool"
    yield PREFIX + "remove_extra_whitespaces", squeezed, "bool"
    if charsmap:
        yield PREFIX + "precompiled_charsmap", list(charsmap), "u8"


def _wordpiece(documents: Documents, tokenizer: dict[str, Any], model: dict[str, Any], count: int | None) -> Iterator[Entry]:
    """WordPiece, of BERT. Tokens in the middle of a word have no mark in a GGUF; the others begin with U+2581."""
    config = documents.json("tokenizer_config.json")
    prefix = model.get("continuing_subword_prefix", "##")
    if prefix != "##":
        raise TokenizerError(f"tokenizer.json: WordPiece with the prefix {shown(prefix)} cannot be expressed in a GGUF")
    tokens = Tokens(count)
    vocab = _items(model.get("vocab")) if tokenizer else ((text, id) for id, text in enumerate(documents.text("vocab.txt").splitlines()))
    for text, id in vocab:
        tokens.place(id, text, NORMAL)
    tokens.add(added(documents))
    texts, types, _ = tokens.lists
    special = set(named_specials(documents).values()) if not tokenizer else set()
    types = [CONTROL if text in special else type for text, type in zip(texts, types, strict=True)]
    yield PREFIX + "model", "bert", "str"
    yield PREFIX + "pre", "bert-bge", "str"
    yield from entries([text if type == CONTROL else _marked(text) for text, type in zip(texts, types, strict=True)], types)
    normalizer = _part(tokenizer.get("normalizer"), "BertNormalizer")
    lowercase = normalizer.get("lowercase", _mentions(tokenizer, "Lowercase")) if tokenizer else config.get("do_lower_case", True)
    strip_accents = normalizer.get("strip_accents") if tokenizer else config.get("strip_accents")
    yield PREFIX + "normalizer.lowercase", lowercase is True, "bool"
    if isinstance(strip_accents, bool):
        yield PREFIX + "normalizer.strip_accents", strip_accents, "bool"
    yield from _segments(documents, 1)


def _marked(text: str) -> str:
    return text[2:] if text.startswith("##") else SPACE + text


def _segments(documents: Documents, default: int | None = None) -> Iterator[Entry]:
    """How many kinds of segments an encoder knows."""
    kinds = documents.json("config.json").get("type_vocab_size", default)
    if type(kinds) is int and 0 <= kinds < 1 << 32:
        yield PREFIX + "token_type_count", kinds, "u32"


def _overrides(documents: Documents) -> Iterator[Entry]:
    """What tokenizer_config.json says against the files beside it."""
    value = documents.json("tokenizer_config.json").get("add_prefix_space")
    if isinstance(value, bool) and not _mentions(documents.json("tokenizer.json"), "ByteLevel"):
        yield PREFIX + "add_space_prefix", value, "bool"


def _items(vocab: Any) -> Iterator[tuple[Any, Any]]:
    if not isinstance(vocab, dict) or not vocab:
        raise TokenizerError("the vocabulary is missing or no JSON object of tokens and ids")
    return iter(vocab.items())


def _merges(values: Any) -> list[str]:
    """Merges as "left right"; in newer files they are pairs, whose parts may hold spaces, which become their letter in GPT-2's alphabet."""
    if not isinstance(values, list):
        raise TokenizerError("the merges are missing or no list")
    merges = [" ".join(map(_letter, value)) if isinstance(value, list) and len(value) == 2 else value for value in values]
    for merge in merges:
        if not isinstance(merge, str) or merge.count(" ") != 1:
            raise TokenizerError(f"the merge {shown(merge)} is not two tokens")
    return merges


def _letter(part: Any) -> str:
    return part.replace(" ", "\u0120") if isinstance(part, str) else " "


def _mentions(tokenizer: Mapping[str, Any], type: str) -> bool:
    """Whether anything but the model is of this type."""
    return any(_part(tokenizer.get(name), type) for name in ("normalizer", "pre_tokenizer", "decoder", "post_processor"))


def _part(value: Any, type: str) -> dict[str, Any]:
    """The first part of this type in a tree of sequences, empty where there is none."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if value.get("type") == type:
                return value
            waiting += [each for inner in value.values() if isinstance(inner, list) for each in inner]
    return {}


def _prefixed(tokenizer: Mapping[str, Any]) -> bool:
    """Whether a space is put in front of a text."""
    metaspace = _part(tokenizer.get("pre_tokenizer"), "Metaspace") or _part(tokenizer.get("normalizer"), "Metaspace")
    if metaspace:
        return metaspace.get("prepend_scheme", "always" if metaspace.get("add_prefix_space", True) else "never") != "never"
    return bool(_part(tokenizer.get("normalizer"), "Prepend"))


def _charsmap(normalizer: Any) -> bytes:
    text = _part(normalizer, "Precompiled").get("precompiled_charsmap") or ""
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise TokenizerError("tokenizer.json: the precompiled_charsmap is not in base 64") from None
