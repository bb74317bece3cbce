from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerun.text.detokenize import Detokenizer, clean_spaces


@given(st.lists(st.binary(max_size=5), max_size=12))
def test_what_comes_out_is_the_whole_decoded(pieces: list[bytes]) -> None:
    grown = Detokenizer(pieces.__getitem__)
    text = "".join(map(grown.push, range(len(pieces)))) + grown.flush()
    assert text == b"".join(pieces).decode("utf-8", "replace")


@given(st.text(max_size=20))
def test_no_character_comes_out_in_halves(text: str) -> None:
    data = text.encode()
    grown = Detokenizer(lambda at: data[at : at + 1])
    assert "".join(map(grown.push, range(len(data)))) == text
    assert grown.flush() == ""


def test_a_character_waits_for_its_last_byte() -> None:
    data = "é😀".encode()
    grown = Detokenizer(lambda at: data[at : at + 1])
    assert [grown.push(at) for at in range(6)] == ["", "é", "", "", "", "😀"]


def test_flush_ends_an_unfinished_character_and_starts_anew() -> None:
    grown = Detokenizer([b"\xe4\xb8", b"a"].__getitem__)
    assert (grown.push(0), grown.flush(), grown.push(1), grown.flush()) == ("", "\ufffd", "a", "")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a , b ! c ? d .", "a, b! c? d."),
        ("it 's i 'm we 're I 've", "it's i'm we're I've"),
        ("he 'd isn 't we 'll", "he 'd isn 't we 'll"),
        ("a ' b", "a'b"),
        ("a ' ' b", "a'' b"),
        ("a  , b", "a , b"),
        (" . 's", ".'s"),
        ("é ,é", "é,é"),
        ("", ""),
    ],
)
def test_clean_spaces_follows_llama_cpp(text: str, clean: str) -> None:
    assert clean_spaces(text.encode()).decode() == clean
