from __future__ import annotations

import time
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vocabularies import BYTE, LIKELY, UNUSED, USER_DEFINED, unigram

from edgerun.errors import TokenizerError
from edgerun.text.tokenizer import Tokenizer, tokenizer_from

TOKENIZER = tokenizer_from(unigram())
EOS, UNK = 1, 2


def texts(text: str, tokenizer: Tokenizer = TOKENIZER, **more: Any) -> list[str]:
    tokenizer = tokenizer_from(unigram(**more)) if more else tokenizer
    return [tokenizer.token_text(token) for token in tokenizer.encode(text, add_special=False)]


def test_the_likeliest_way_is_taken() -> None:
    assert texts("ab") == ["▁ab"]           # -5.5 against -3.5 - 4.5
    assert texts("bab") == ["▁", "b", "ab"]
    assert texts("abc") == ["▁ab", "c"]     # -11.5 against -3.5 - 10


@given(st.text("abcé", max_size=7))
def test_no_other_way_has_a_larger_sum(text: str) -> None:
    word = "▁" + text
    sums = [
        sum(LIKELY[word[begin:end]] for begin, end in zip((0, *cuts), (*cuts, len(word)), strict=True))
        for chosen in product((False, True), repeat=len(word) - 1)
        for cuts in [tuple(at + 1 for at, cut in enumerate(chosen) if cut)]
        if all(word[begin:end] in LIKELY for begin, end in zip((0, *cuts), (*cuts, len(word)), strict=True))
    ]
    assert sum(LIKELY[part] for part in texts(text)) == (max(sums) if text else 0)


def test_characters_are_replaced_and_spaces_merged() -> None:
    assert texts(" a\t\n  b\u3000 ") == ["▁a", "▁", "b"]
    assert texts("e\u0301ﬁ\u200b") == ["▁", "é", "f", "i"]
    assert texts(" \n ") == texts("") == []


def test_spaces_stay_where_the_file_says_so() -> None:
    assert texts("  a", remove_extra_whitespaces=False) == ["▁", "▁", "▁a"]
    assert texts("  a", remove_extra_whitespaces=False, add_space_prefix=False) == ["▁", "▁a"]
    assert texts("a ", remove_extra_whitespaces=False) == ["▁a", "▁"]
    assert texts("a", remove_extra_whitespaces=False, add_space_prefix=False) == ["a"]
    assert texts("a", add_space_prefix=False) == ["▁a"]   # as llama.cpp: merged spaces have one in front


def test_a_run_of_unknown_characters_is_one_token() -> None:
    assert texts("axyz") == ["▁a", "<unk>"]
    assert texts("xa") == ["▁", "<unk>", "a"]
    no_space = {piece: score for piece, score in LIKELY.items() if "▁" not in piece}
    assert texts("x y " * 3000, pieces=no_space) == ["<unk>"]
    assert texts("x a y " * 3000, pieces=no_space) == ["<unk>", "a"] * 3000 + ["<unk>"]


def test_an_unknown_character_costs_ten_more_than_the_worst_token() -> None:
    pieces = {"▁": 0.0, "a": -5.0, "ab": -20.5}   # an unknown b: -5 - 30.5
    assert texts("ab", pieces=pieces) == ["▁", "ab"]
    assert texts("ab", pieces={**pieces, "zz": 0.0, "ab": -20.0, "a": 0.0}) == ["▁", "ab"]


def test_tokens_that_users_added_are_preferred_where_rules_make_them() -> None:
    tokenizer = tokenizer_from(unigram(specials={"fia": USER_DEFINED}))
    assert texts("ﬁa", tokenizer) == ["▁", "fia"]


def test_byte_tokens_are_no_text() -> None:
    pieces = {**LIKELY, **dict.fromkeys("<0x1>", -2.0)}
    tokenizer = tokenizer_from(unigram(pieces, specials={"<0x11>": BYTE, "ba": UNUSED}))
    assert texts("<0x11>", tokenizer) == ["▁", *"<0x11>"]
    assert tokenizer.piece(3) == b"\x11"


def test_eos_ends_a_text() -> None:
    assert TOKENIZER.encode("a")[-1] == EOS
    assert TOKENIZER.encode("") == [EOS]
    assert tokenizer_from(unigram(add_eos_token=False)).encode("") == []


def test_text_comes_back() -> None:
    assert TOKENIZER.decode(TOKENIZER.encode("  ab  a", add_special=False)) == "ab a"


@settings(deadline=None)
@given(st.text(st.one_of(st.sampled_from("ab cé▁\n"), st.characters()), max_size=30))
def test_long_texts_are_cut_as_short_ones(text: str) -> None:
    once = TOKENIZER.encode(text + " a", add_special=False)
    assert TOKENIZER.encode((text + " a ") * 300, add_special=False) == once * 300


@pytest.mark.parametrize("unit", ["a", " ", "x", "ab ", "\u0301", "e\u0301", "世", "▁"], ids=ascii)
def test_time_is_linear(unit: str) -> None:
    began = time.process_time()
    TOKENIZER.encode(unit * (100_000 // len(unit)))
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": None}, "scores is missing"),
        ({"scores": [0.0]}, "scores has 1 entries"),
        ({"scores": [float("-inf")] * TOKENIZER.n_vocab}, "scores that are not finite"),
        ({"scores": [float("nan")] * TOKENIZER.n_vocab}, "scores that are not finite"),
        ({"unknown_token_id": -1, "tokens": ["a", "b"], "token_type": None, "scores": [0.0, 0.0]}, "unknown_token_id is missing"),
        ({"precompiled_charsmap": "abc"}, "charsmap is not a list of bytes"),
        ({"precompiled_charsmap": [256] * 8}, "charsmap is not a list of bytes"),
        ({"precompiled_charsmap": [0.5] * 8}, "charsmap is not a list of bytes"),
        ({"precompiled_charsmap": [9]}, "of which 9 are the array"),
        ({"remove_extra_whitespaces": 1}, "remove_extra_whitespaces is 1"),
    ],
)
def test_a_bad_vocabulary_gives_one_clear_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TokenizerError, match=message) as caught:
        tokenizer_from(unigram(**change))
    assert str(caught.value).isprintable()


def test_a_charsmap_may_be_of_signed_bytes() -> None:
    values = unigram()["tokenizer.ggml.precompiled_charsmap"]
    signed = [value - 256 if value > 127 else value for value in values]
    assert texts("e\u0301", precompiled_charsmap=signed) == texts("é")
