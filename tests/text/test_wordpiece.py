from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vocabularies import wordpiece

from edgerun.errors import TokenizerError
from edgerun.text.tokenizer import tokenizer_from

TOKENIZER = tokenizer_from(wordpiece())
UNK, CLS, SEP, MASK = 1, 2, 3, 4


def texts(text: str, **more: Any) -> list[str]:
    tokenizer = tokenizer_from(wordpiece(**more)) if more else TOKENIZER
    return [tokenizer.token_text(token) for token in tokenizer.encode(text, add_special=False)]


def test_the_longest_token_comes_first() -> None:
    assert texts("the quick unaffable") == ["▁the", "▁quick", "▁un", "aff", "able"]
    assert texts("aa") == ["▁a", "a"]


def test_a_word_that_no_tokens_make_is_unknown_as_a_whole() -> None:
    assert texts("the unaffab quick") == ["▁the", "[UNK]", "▁quick"]


@pytest.mark.parametrize("text", ["The QUICK", "thé\u0301 quick", "  the\t\n\r\u2003quick\u3000", "t\u200bhe\x01 \ufeffqui\xadck\ufffd\ue000"])
def test_case_accents_white_space_and_control_characters_are_gone(text: str) -> None:
    assert texts(text) == ["▁the", "▁quick"]


def test_punctuation_and_chinese_characters_are_words() -> None:
    assert texts("a!a世界a") == ["▁a", "▁!", "▁a", "▁世", "▁界", "▁a"]
    assert texts("🙂!") == ["[UNK]", "▁!"]


def test_the_first_of_a_decomposition_is_kept_as_by_llama_cpp() -> None:
    assert texts("ß 한") == ["▁ß", "▁ᄒ"]


def test_what_the_file_says_of_normalizing() -> None:
    words = ("▁É", "▁é", "▁e", "▁E", "▁e\u0301")
    assert texts("É", words=words) == ["▁e"]
    assert texts("É", words=words, **{"normalizer.lowercase": False}) == ["▁É"]
    assert texts("É", words=words, **{"normalizer.strip_accents": False}) == ["▁é"]
    assert texts("É", words=words, **{"normalizer.lowercase": False, "normalizer.strip_accents": True}) == ["▁E"]
    assert texts("e\u0301", words=words, **{"normalizer.strip_accents": False}) == ["▁e\u0301"]


def test_a_text_stands_between_cls_and_sep_whatever_the_flags() -> None:
    words = [5]
    assert TOKENIZER.encode("the") == [CLS, *words, SEP]
    assert TOKENIZER.encode("") == [CLS, SEP]
    assert tokenizer_from(wordpiece(add_bos_token=False, add_sep_token=False)).encode("the") == [CLS, *words, SEP]
    assert tokenizer_from(wordpiece(bos_token_id=4)).encode("the") == [MASK, *words, SEP]
    assert (TOKENIZER.bos, TOKENIZER.sep) == (CLS, SEP)


def test_special_tokens_are_found_on_request() -> None:
    assert TOKENIZER.encode("the [MASK]", False, parse_special=True) == [5, MASK]
    assert MASK not in TOKENIZER.encode("the [MASK]", False)


def test_pieces_and_text() -> None:
    assert TOKENIZER.piece(5) == b" the"
    assert TOKENIZER.decode(TOKENIZER.encode("The quick!")) == " the quick!"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unknown_token_id": None}, "unknown_token_id is missing"),
        ({"seperator_token_id": None}, "seperator_token_id is missing although SEP"),
        ({"cls_token_id": 101}, "bos_token_id is missing"),
        ({"cls_token_id": "a"}, "cls_token_id is 'a', not a token id"),
        ({"cls_token_id": -1}, "bos_token_id is missing"),
        ({"normalizer.lowercase": 1}, "lowercase is 1, not true or false"),
    ],
)
def test_a_bad_vocabulary_gives_one_clear_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        tokenizer_from(wordpiece(**change))


@pytest.mark.parametrize("unit", ["a", " ", "é", "世", "unaffable", "!", "\u0301", "b"], ids=ascii)
def test_time_is_linear(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    began = time.process_time()
    TOKENIZER.encode(text)
    assert time.process_time() - began < 2


@given(st.text(max_size=60))
def test_any_text_has_ids(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert all(0 <= token < TOKENIZER.n_vocab for token in ids)
    assert ids[0] == CLS
    assert ids[-1] == SEP
