from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vocabularies import BYTE, USER_DEFINED, spm

from edgerun.errors import TokenizerError
from edgerun.text.tokenizer import Tokenizer, tokenizer_from

TOKENIZER = tokenizer_from(spm())


def texts(tokenizer: Tokenizer, text: str, parse_special: bool = False) -> list[str]:
    return [tokenizer.token_text(token) for token in tokenizer.encode(text, False, parse_special)]


def naive(text: str, scores: dict[str, float]) -> list[str]:
    """The definition: merge the leftmost of the best pairs until none is a piece."""
    parts = list(text)
    while True:
        pairs = [(-scores[parts[at] + parts[at + 1]], at) for at in range(len(parts) - 1) if parts[at] + parts[at + 1] in scores]
        if not pairs:
            return parts
        at = min(pairs)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


def test_the_best_score_goes_first() -> None:
    assert texts(TOKENIZER, "abc") == ["▁", "abc"]   # bc before ab, then abc before ▁a
    assert texts(TOKENIZER, "abb") == ["▁ab", "b"]


def test_a_space_goes_in_front_of_the_text_and_after_special_tokens() -> None:
    assert texts(TOKENIZER, "b") == ["▁", "b"]
    assert texts(TOKENIZER, "b</s>b", parse_special=True) == ["▁", "b", "</s>", "▁", "b"]
    assert texts(tokenizer_from(spm(add_space_prefix=False)), "b</s>b", parse_special=True) == ["b", "</s>", "b"]


def test_unknown_characters_become_bytes() -> None:
    assert texts(TOKENIZER, "é世") == ["▁", "é", "<0xE4>", "<0xB8>", "<0x96>"]
    assert TOKENIZER.decode(TOKENIZER.encode("é世", add_special=False)) == "é世"


def test_without_byte_tokens_they_become_unknown() -> None:
    tokenizer = tokenizer_from(spm(tokens=["<unk>", "<s>", "</s>", "▁"], token_type=[2, 3, 3, 1], scores=[0.0] * 4))
    assert texts(tokenizer, "世") == ["▁", "<unk>", "<unk>", "<unk>"]


def test_a_lone_byte_becomes_its_token() -> None:
    assert texts(TOKENIZER, b"\xff".decode("utf-8", "surrogateescape")) == ["▁", "<0xFF>"]
    assert texts(TOKENIZER, "\ud800") == ["▁", "<0xEF>", "<0xBF>", "<0xBD>"]


def test_a_control_token_never_comes_of_merges() -> None:
    tokenizer = tokenizer_from(spm({"<": -1.0, "s": -1.0, ">": -1.0, "<s": -0.5}))
    assert texts(tokenizer, "<s>") == ["<0xE2>", "<0x96>", "<0x81>", "<s", ">"]


def test_user_defined_tokens_are_found_always() -> None:
    tokenizer = tokenizer_from(spm(specials={"ab": USER_DEFINED}, pieces={"▁": -1.0, "a": -1.0, "b": -1.0, "c": -1.0}))
    assert texts(tokenizer, "cabc") == ["▁", "c", "ab", "▁", "c"]


scores = st.sampled_from([-3.0, -1.5, 0.0, -0.0, 2.0, 2.5])
scores_of_pieces = st.dictionaries(st.text("abc▁", min_size=2, max_size=4), scores, max_size=25)


@given(st.text("abc é", max_size=30), scores_of_pieces)
def test_merges_are_those_of_the_definition(text: str, pieces: dict[str, float]) -> None:
    scores = {**dict.fromkeys("abcé▁", -9.0), **pieces}
    tokenizer = tokenizer_from(spm(scores, add_space_prefix=False))
    assert texts(tokenizer, text) == naive(text.replace(" ", "▁"), scores)


@given(st.text(max_size=60))
def test_decode_gives_the_text_back(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special=False)
    assert TOKENIZER.decode(ids) == text.replace("▁", " ")


@pytest.mark.parametrize("pieces", [{}, {"c▁": -0.1, "c▁a": -0.2, "▁▁▁": -0.05, "a▁▁": -9.0}])
def test_long_texts_in_words_give_the_same(pieces: dict[str, float]) -> None:
    pieces = {**dict.fromkeys("abc▁", -9.0), "ab": -1.0, "▁a": -2.0, "▁▁": -3.0, **pieces}
    tokenizer = tokenizer_from(spm(pieces, add_space_prefix=False))
    text = "".join(random.Random(5).choices("abc  ", k=6000))
    whole = tokenizer._kind._word(text.replace(" ", "▁"))   # type: ignore[attr-defined]
    assert tokenizer.encode(text, add_special=False) == whole == tokenizer.encode(text, add_special=False)


@pytest.mark.parametrize("unit", ["a", " ", "abc", "世", "ab "])
def test_time_is_linear(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    began = time.process_time()
    ids = TOKENIZER.encode(text, add_special=False)
    assert time.process_time() - began < 2
    assert TOKENIZER.decode(ids) == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": None}, "scores is missing"),
        ({"scores": [0.0]}, "scores has 1 entries for"),
        ({"scores": ["x"]}, "not a list of numbers"),
        ({"scores": [float("nan")] * (259 + 11)}, "not numbers"),
    ],
)
def test_bad_scores(change: dict[str, object], message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        tokenizer_from(spm(**change))


def test_a_byte_token_must_look_like_one() -> None:
    with pytest.raises(TokenizerError, match="byte token 'x'"):
        tokenizer_from(spm(specials={"x": BYTE}))
