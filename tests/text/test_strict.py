"""Strict tokenizers: where llama.cpp gives other ids than the tokenizer that the model was trained with."""

from __future__ import annotations

import time
from typing import Any

import pytest
from vocabularies import CONTROL, NORMAL, USER_DEFINED, bpe, spm, unigram, wordpiece

from edgerun.text.tokenizer import Tokenizer, tokenizer_from


def texts(metadata: dict[str, Any], text: str, strict: bool = True) -> list[str]:
    tokenizer = tokenizer_from(metadata, strict)
    return [tokenizer.token_text(token) for token in tokenizer.encode(text, add_special=False)]


@pytest.mark.parametrize("pre", ["qwen2", "qwen35", "command-r", "mpt", "olmo"])
def test_some_models_were_trained_on_composed_text(pre: str) -> None:
    assert texts(bpe(pre=pre), "e\u0301") == ["Ã©"]
    assert texts(bpe(pre=pre), "e\u0301", strict=False)[0] == "e"
    assert texts(bpe(pre="llama-bpe"), "e\u0301")[0] == "e"


def test_a_file_without_a_pre_tokenizer_gets_that_of_its_architecture() -> None:
    unnamed = bpe(pre=None) | {"general.architecture": "gptneox"}
    assert "names no pre-tokenizer" in (tokenizer_from(unnamed).warning or "")
    assert tokenizer_from(unnamed, strict=True).warning is None
    assert texts(unnamed, "e\u0301") == ["Ã©"]
    assert tokenizer_from(bpe(pre=None) | {"general.architecture": "llama"}, strict=True).warning


def test_the_file_says_what_user_defined_tokens_are() -> None:
    specials = {"</s>": NORMAL, "<|fim_prefix|>": USER_DEFINED, "<|im_end|>": NORMAL}
    plain, strict = tokenizer_from(bpe(specials=specials)), tokenizer_from(bpe(specials=specials), strict=True)
    mark = plain.n_vocab - 2
    assert mark not in plain.encode("<|fim_prefix|>")
    assert strict.encode("<|fim_prefix|>") == [mark]
    assert strict.piece(mark - 1) == b"</s>" != plain.piece(mark - 1)
    # A token that ends an answer and was converted as plain text is one in any case.
    assert strict.piece(mark + 1) == b""
    assert strict.eog == plain.eog


def test_words_of_bert() -> None:
    longest = "▁" + "b" * 100
    vocabulary = wordpiece(("▁a", "a", "▁ᄒ", "ᅡ", "ᆫ", "▁e", "\u0903", longest, "b"))
    assert texts(vocabulary, "한") == ["▁ᄒ", "ᅡ", "ᆫ"]
    assert texts(vocabulary, "한", strict=False) == ["▁ᄒ"]
    assert texts(vocabulary, "e\u0301 e\u0903") == ["▁e", "▁e", "\u0903"]
    assert texts(vocabulary, "a\x0ba\x0ca\x85a") == ["▁a", "a", "a", "a"]
    assert texts(vocabulary, "b" * 100) == [longest]
    assert texts(vocabulary, "b" * 101) == ["[UNK]"]
    assert texts(vocabulary, "▁a") == ["[UNK]"]
    assert texts(vocabulary, "b" * 101, strict=False) == [longest, "b"]


def test_sums_of_unigram_are_of_32_bits() -> None:
    pieces = {"▁": 0.0, "a": -(2.0**24), "b": -0.25, "ab": -(2.0**24) - 0.5}
    assert texts(unigram(pieces), "ab", strict=False) == ["▁", "a", "b"]
    assert texts(unigram(pieces), "ab") == ["▁", "ab"]   # the sums are equal when rounded, and this one came first


def test_user_defined_tokens_of_sentencepiece_are_part_of_the_text() -> None:
    vocabulary = spm(specials={"<tool>": USER_DEFINED, "  ": USER_DEFINED, "<end>": CONTROL})
    assert texts(vocabulary, "a<tool>a", strict=False) == ["▁a", "<tool>", "▁a"]
    assert texts(vocabulary, "a<tool>a") == ["▁a", "<tool>", "a"]
    assert texts(vocabulary, "<tool>a") == ["▁", "<tool>", "a"]
    assert texts(vocabulary, "a▁▁a") == ["▁a", "  ", "a"]
    tokenizer = tokenizer_from(vocabulary, strict=True)
    assert tokenizer.encode("<end>a", False, parse_special=True) == [*tokenizer.encode("<end>", False, True), *tokenizer.encode("a", False)]


def test_blanks_beside_user_defined_tokens_stay() -> None:
    phi = spm(specials={"<tool>": USER_DEFINED}) | {"general.name": "Phi-3"}
    assert texts(phi, "<tool> a", strict=False) == ["<tool>", "▁a"]
    assert texts(phi, "<tool> a") == ["▁", "<tool>", "▁a"]


STRICT = {name: tokenizer_from(metadata, strict=True) for name, metadata in (("bpe", bpe(pre="qwen2")), ("spm", spm()), ("bert", wordpiece()), ("t5", unigram()))}


@pytest.mark.parametrize("tokenizer", STRICT.values(), ids=STRICT)
@pytest.mark.parametrize("unit", ["a", " ", "é", "e\u0301", "\u0301", "世", "한", "▁", "!", "1"], ids=ascii)
def test_time_is_linear(tokenizer: Tokenizer, unit: str) -> None:
    began = time.process_time()
    tokenizer.encode(unit * (100_000 // len(unit)))
    assert time.process_time() - began < 3
