"""Definitions as published checkpoints have them, and the names that llama.cpp gives them."""

import json
import os
from pathlib import Path

import pytest

from edgerun.errors import TokenizerError
from edgerun.gguf import open_gguf
from edgerun.text import families
from edgerun.text.bpe import ALPHABET
from quant.convert.definition import Definition
from quant.convert.pretokenizer import recognise
from quant.convert.vocabulary import vocabulary

MODELS = Path(os.environ.get("EDGERUN_TEST_MODELS", Path.home() / ".cache" / "edgerun-test-models"))
BYTES, BYTES_ONLY = {"type": "ByteLevel", "add_prefix_space": False}, {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
DIGITS = {"type": "Digits", "individual_digits": True}
NFC = {"type": "NFC"}
S = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+@|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*@"
SLASHED = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"


def split(*expressions, end=BYTES_ONLY):
    steps = [{"type": "Split", "pattern": {"Regex": each}, "behavior": "Isolated", "invert": False} if isinstance(each, str) else each for each in expressions]
    return {"type": "Sequence", "pretokenizers": [*steps, end]}


FALCON = {"type": "Sequence", "pretokenizers": [{"type": "Punctuation", "behavior": "Contiguous"}, BYTES, {"type": "Digits", "individual_digits": False}]}
DEEPSEEK_CODER = split("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", DIGITS)
PUBLISHED = [
    ("gpt-2", BYTES, None, False, "gpt2"),
    ("phi-2", BYTES, None, False, "phi"),
    ("olmo", BYTES, NFC, False, "gpt_neox"),
    ("mpt", BYTES, NFC, False, "mpt"),
    ("modern-bert", BYTES, NFC, False, "modernbert"),
    ("smollm", split(DIGITS, end=BYTES), None, False, "unknown"),
    ("command-r", split(DIGITS, end=BYTES), NFC, False, "unknown"),
    ("starcoder", split(DIGITS, end=BYTES), None, False, "starcoder2"),
    ("refact", split(DIGITS, end=BYTES), None, False, "granite"),
    ("llama-bpe", split(rf"{S}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{REST}"), None, True, "llama"),
    ("dbrx", split(rf"{S}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{REST}"), None, False, "olmo2"),
    ("lfm2", split(rf"{S}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{REST}"), None, True, "lfm2"),
    ("qwen2", split(rf"{S}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{REST}"), NFC, False, "qwen3"),
    ("qwen2", split(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1}| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s*[\r\n]+|\s+(?!\S)|\s+"), NFC, False, "new"),
    ("qwen35", split(rf"{S}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), NFC, False, "qwen3_5"),
    ("gpt-4o", split(rf"{CASED.replace('@', S + '?')}|\p{{N}}{{1,3}}|{SLASHED}"), None, False, "gpt_oss"),
    ("llama4", split(rf"{CASED.replace('@', S + '?')}|\p{{N}}{{1,3}}|{SLASHED}"), None, False, "llama4_text"),
    ("tekken", split(rf"{CASED.replace('@', '')}|\p{{N}}|{SLASHED}"), None, True, "mistral"),
    ("deepseek-v3", split(r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK3), None, False, "deepseek_v3"),
    ("deepseek-coder", DEEPSEEK_CODER, None, False, "unknown"),
    ("seed-coder", split(rf"{S}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"), None, False, "seed_oss"),
    ("bailingmoe2", split(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"), None, False, "bailing_moe_v2"),
    ("falcon", {**FALCON, "pretokenizers": [*FALCON["pretokenizers"], split("[0-9][0-9][0-9]")["pretokenizers"][0]]}, None, False, "falcon"),
    ("bloom", split(BLOOM), None, False, "bloom"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "normalizer", "whole", "model_type"), PUBLISHED, ids=[f"{case[0]} {case[4]}" for case in PUBLISHED])
def test_published_definitions(name: str, value, normalizer, whole: bool, model_type: str) -> None:
    definition = Definition({"pre_tokenizer": value, "normalizer": normalizer})
    # The words of a real vocabulary are not needed: "12" tells falcon's cuts from GPT-2's.
    merges = ["1 2", "Ġ Ġ", "a Z", "t h", "Ġ th", "Ġt h", "' s", "Ġ '", "! !", "Ċ Ċ"]
    tokens = [*ALPHABET, *(merge.replace(" ", "") for merge in merges)]
    assert recognise(definition, tokens, merges, whole, False, model_type) == name


def test_what_differs_only_where_nothing_is_joined() -> None:
    """DeepSeek's models cut single digits, llama.cpp whole numbers: the same, as long as no token has two digits."""
    letters = rf"\s?[{families._DEEPSEEK_LETTERS}]+"
    value = split("[\r\n]", letters, r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", "[一-龥ࠀ-一가-퟿]+", DIGITS)
    definition = Definition({"pre_tokenizer": value})
    plain = ["a Z", "t h", "Ġ th"]
    assert recognise(definition, [*ALPHABET, "aZ", "th", "Ġth"], plain, False, False, "deepseek_v2") == "deepseek-llm"
    assert recognise(definition, [*ALPHABET, "17"], ["1 7"], False, False, "deepseek_v2") != "deepseek-llm"


@pytest.mark.parametrize(
    ("step", "text", "words"),
    [
        ({"type": "Split", "pattern": {"String": "b"}, "behavior": "MergedWithPrevious"}, "abcbbd", ["ab", "cb", "b", "d"]),
        ({"type": "Split", "pattern": {"String": "b"}, "behavior": "MergedWithNext"}, "abcbbd", ["a", "bc", "b", "bd"]),
        ({"type": "Split", "pattern": {"String": "b"}, "behavior": "Contiguous"}, "abcbbd", ["a", "b", "c", "bb", "d"]),
        ({"type": "Split", "pattern": {"String": "b"}, "behavior": "Removed"}, "abcbbd", ["a", "c", "d"]),
        ({"type": "Split", "pattern": {"Regex": "b+"}, "behavior": "Removed", "invert": True}, "abcbbd", ["b", "bb"]),
        ({"type": "Split", "pattern": {"String": ".+"}, "behavior": "Isolated"}, "a.+b", ["a", ".+", "b"]),
        ({"type": "ByteLevel"}, "a é1", ["a", "ĠÃ©", "1"]),
        ({"type": "WhitespaceSplit"}, " ab  c", ["ab", "c"]),
        ({"type": "Punctuation"}, "a!?b", ["a", "!", "?", "b"]),
        (None, "a b", ["a b"]),
    ],
)
def test_steps(step, text: str, words: list[str]) -> None:
    assert Definition({"pre_tokenizer": step}).cut(text) == words


@pytest.mark.parametrize("expression", ["(", "x" * 20_001, "(a|a)*b", "(?R)", r"\p{Nothing}", "[[["])
def test_hostile_expressions(expression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quant.convert.definition._SECONDS", 0.2)
    with pytest.raises(TokenizerError):
        Definition({"pre_tokenizer": split(expression)}).cut("a" * 40 + " b")


DEFINED = {case[0]: case for case in PUBLISHED}
VOCABULARIES = {
    "gpt-2": "gpt2", "llama-bpe": "llama", "qwen2": "qwen2", "falcon": "falcon", "starcoder": "starcoder2", "refact": "granite", "command-r": "cohere",
    "deepseek-coder": "llama", "mpt": "mpt", "qwen35": "qwen3_5",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in VOCABULARIES if (MODELS / "vocabs" / f"ggml-vocab-{name}.gguf").is_file()])
def test_whole_vocabularies_come_back(name: str, tmp_path: Path) -> None:
    """A published vocabulary written as a tokenizer.json with its published definition: the same tokens, types, merges and name."""
    with open_gguf(MODELS / "vocabs" / f"ggml-vocab-{name}.gguf") as file:
        theirs = {key: file.metadata[key] for key in file.metadata if key.startswith("tokenizer.")}
    texts, types = theirs["tokenizer.ggml.tokens"], theirs["tokenizer.ggml.token_type"]
    _, value, normalizer, whole, _ = DEFINED[name]
    tokenizer = {
        "added_tokens": [{"id": id, "content": texts[id], "special": type == 3} for id, type in enumerate(types) if type in (3, 4)],
        "normalizer": normalizer,
        "pre_tokenizer": value,
        "decoder": {"type": "ByteLevel"},
        "model": {
            "type": "BPE",
            "vocab": {text: id for id, (text, type) in enumerate(zip(texts, types, strict=True)) if type == 1},
            "merges": theirs["tokenizer.ggml.merges"],
            "ignore_merges": whole,
        },
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": VOCABULARIES[name], "vocab_size": len(texts)}))
    found = {key: value for key, value, _ in vocabulary(tmp_path)}
    for key in ("model", "pre", "tokens", "merges"):
        assert found[f"tokenizer.ggml.{key}"] == theirs[f"tokenizer.ggml.{key}"], key
    # Files of old call some control tokens user-defined.
    assert all(ours in (type, 3) for ours, type in zip(found["tokenizer.ggml.token_type"], types, strict=True))
