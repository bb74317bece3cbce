from __future__ import annotations

import unicodedata

import pytest
from make_characters import WHITE_SPACE, name

from edgerun.text import characters
from edgerun.text.characters import HAN, LETTER, SPACE, shapes, spaces


def test_table_covers_all_code_points_and_leaves_ascii_alone() -> None:
    assert len(shapes()) == 0x110000
    assert shapes()[:128] == "".join(map(chr, range(128)))


def test_table_agrees_with_python_where_both_versions_know_the_character() -> None:
    """Categories of assigned characters hardly ever change; the few that did between versions are allowed for."""
    table = shapes()
    differing = [
        code
        for code in range(0x80, 0x110000)
        if unicodedata.category(chr(code)) != "Cn"
        and table[code] != characters.OTHER
        and table[code] != characters._CLASSES[name(code, unicodedata)]
    ]
    assert len(differing) < 10


def test_table_is_of_unicode_15_1_on_every_python() -> None:
    assert shapes()[0x2EBF0] == LETTER   # ideographs of extension I, new in 15.1
    assert shapes()[0x1C89] == characters.OTHER   # a letter only since 16.0


def test_white_space_is_that_of_unicode() -> None:
    assert set(spaces()) == WHITE_SPACE
    assert {shapes()[code] for code in WHITE_SPACE} == {SPACE}
    assert shapes()[0x200B] == shapes()[0xFEFF] == characters.OTHER


@pytest.mark.parametrize(
    ("character", "plain", "han"),
    [("世", LETTER, HAN), ("あ", LETTER, LETTER), ("é", LETTER, LETTER), ("，", characters.PUNCTUATION, characters.PUNCTUATION)],
)
def test_han_has_a_class_of_its_own_on_request(character: str, plain: str, han: str) -> None:
    assert character.translate(shapes()) == plain
    assert character.translate(shapes(han=True)) == han


def test_shapes_keep_the_length() -> None:
    text = "naïve 世界 😀 e\u0301 \u2003x"
    assert len(text.translate(shapes())) == len(text)
