from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerun.cli.clean import clean


@pytest.mark.parametrize(("text", "shown"), [
    ("plain é 日本 👩‍👩‍👧 \t\n", "plain é 日本 👩‍👩‍👧 \t\n"),
    ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
    ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
    ("\x9b2J", "\\x9b2J"),
    ("over\rwritten\x08\x7f", "over\\rwritten\\x08\\x7f"),
    ("\u202eevil\u2066", "\\u202eevil\\u2066"),
    ("\u2028\udcff", "\\u2028\\udcff"),
])  # fmt: skip
def test_controls_become_visible(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_one_line() -> None:
    assert clean("a\tb\nc", keep_newlines=False) == "a\\tb\\nc"


@given(st.text(st.characters(), max_size=50))
def test_nothing_gets_through(text: str) -> None:
    assert {character for character in clean(text) if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")} <= {"\n", "\t"}
    clean(text).encode()
    assert "\n" not in clean(text, keep_newlines=False)


@given(st.lists(st.text(st.characters(), max_size=10)))
def test_pieces_can_be_cleaned_one_by_one(pieces: list[str]) -> None:
    assert "".join(map(clean, pieces)) == clean("".join(pieces))
