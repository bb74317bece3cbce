from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vocabularies import GEMMA4, bpe

from edgerun.errors import TokenizerError
from edgerun.text.tokenizer import Tokenizer, tokenizer_from

TOKENIZER = tokenizer_from(bpe())


def texts(tokenizer: Tokenizer, text: str, parse_special: bool = False) -> list[str]:
    return [tokenizer.token_text(token) for token in tokenizer.encode(text, False, parse_special)]


def test_merges_happen_in_the_order_of_the_file() -> None:
    assert texts(TOKENIZER, "hello world") == ["hello", "Ġworld"]
    assert texts(TOKENIZER, "hell") == ["hell"]
    assert texts(TOKENIZER, "ello") == ["e", "ll", "o"]
    assert texts(tokenizer_from(bpe(("l l", "e l", "h e"))), "hell") == ["he", "ll"]


def test_the_leftmost_of_equal_merges_comes_first() -> None:
    assert texts(TOKENIZER, "aaaaa") == ["aaaa", "a"]


def test_the_first_of_two_equal_merges_counts() -> None:
    merges = ("a b", "b c", "a b")
    assert texts(tokenizer_from(bpe(merges)), "abc") == ["ab", "c"]


def test_no_merge_crosses_words() -> None:
    merges = ("a -", "- a")
    assert texts(tokenizer_from(bpe(merges)), "a-a") == ["a", "-", "a"]


def test_a_word_that_is_a_token_is_taken_whole_where_the_pre_tokenizer_says_so() -> None:
    merges = ("b c", "a b", "ab c")   # abc cannot come of these: bc goes first
    assert texts(tokenizer_from(bpe(merges, pre="gpt-2")), "abc") == ["a", "bc"]
    assert texts(tokenizer_from(bpe(merges, pre="llama-bpe")), "abc") == ["abc"]


def test_a_symbol_without_a_token_is_dropped_as_far_as_its_bytes_have_none() -> None:
    metadata = bpe()
    metadata["tokenizer.ggml.tokens"][metadata["tokenizer.ggml.tokens"].index("a")] = "something"
    assert texts(tokenizer_from(metadata), "bac") == ["b", "c"]


def test_other_characters_in_a_token_are_rendered_as_by_llama_cpp() -> None:
    tokenizer = tokenizer_from(bpe(("x y",), specials={"a\u4e16": 1}))
    assert tokenizer.piece(257) == b"a[UNK_BYTE_0xe4b896a\xe4\xb8\x96]"


@given(st.text(max_size=80))
def test_decode_gives_the_text_back(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special=False)
    assert b"".join(map(TOKENIZER.piece, ids)) == text.encode()
    assert tokenizer_from(bpe(pre="smollm")).decode(ids) == text


@given(st.text(st.characters(categories=["Cs"]), max_size=3), st.text(max_size=5))
def test_a_lone_surrogate_becomes_the_replacement_character(bad: str, text: str) -> None:
    replaced = text + "\ufffd" * len(bad) + text
    assert TOKENIZER.encode(text + bad + text) == TOKENIZER.encode(replaced)


def test_what_was_met_before_makes_no_difference() -> None:
    fresh = tokenizer_from(bpe())
    once = fresh.encode("hello hello world " * 50)
    assert fresh.encode("hello hello world " * 50) == once == TOKENIZER.encode("hello hello world " * 50)


@pytest.mark.parametrize("unit", ["a", " ", "hello", "\n", "世", "ab "], ids=ascii)
def test_time_is_linear(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    began = time.process_time()
    ids = TOKENIZER.encode(text)
    assert time.process_time() - began < 2
    assert b"".join(map(TOKENIZER.piece, ids)) == text.encode()


def test_merges_are_optional_for_kimi_only() -> None:
    assert texts(tokenizer_from(bpe(pre="kimi-k2", merges=None)), "hello") == list("hello")
    with pytest.raises(TokenizerError, match="merges is missing"):
        tokenizer_from(bpe(merges=None))


def test_gemma4_merges_characters_and_has_byte_tokens() -> None:
    tokenizer = tokenizer_from(bpe(**GEMMA4))
    assert texts(tokenizer, "a a b\n\nc") == ["a", "▁a", "▁", "b", "\n\n", "<0x63>"]
    assert tokenizer.encode("a")[:1] == [2]   # BOS although the file does not say so
    assert tokenizer.decode(tokenizer.encode("a a b\n\né", add_special=False)) == "a a b\n\né"


def test_gemma4_gives_the_same_for_long_texts_in_words() -> None:
    tokenizer = tokenizer_from(bpe(**GEMMA4))
    line = "a a b  a"
    short = tokenizer.encode(line, add_special=False)
    ids = tokenizer.encode("\n".join([line] * 2000), add_special=False)
    newline = tokenizer.encode("\n", add_special=False)
    assert ids == (short + newline) * 1999 + short
