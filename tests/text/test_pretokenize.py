from __future__ import annotations

import gzip
import json
import time
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerun.text.families import FAMILIES, Family
from edgerun.text.pretokenize import family, splitter

GOLDEN = json.loads(gzip.decompress((Path(__file__).parent.parent / "golden" / "tokenizers" / "pretokenizers.json.gz").read_bytes()))
NAMES = {facts["type"]: name for name, facts in GOLDEN["names"].items()}
LONG = 30_000


def words(name: str, text: str) -> list[str]:
    return list(splitter(family(name)[0].steps)(text))


@pytest.mark.parametrize("kind", sorted(GOLDEN["types"]))
def test_words_are_those_of_llama_cpp(kind: str) -> None:
    for text, lengths in zip(GOLDEN["texts"], GOLDEN["types"][kind]["splits"], strict=True):
        expected = [text[start:end] for start, end in pairwise(accumulate(lengths, initial=0)) if end > start]
        assert words(NAMES[kind], text) == expected


@pytest.mark.parametrize("kind", sorted(GOLDEN["types"]))
def test_strict_words_are_those_of_the_models_own_patterns(kind: str) -> None:
    """Where these differ from llama.cpp's; but for characters whose class is another in another version of Unicode."""
    known = family(NAMES[kind])[0]
    split = splitter(known.trained or known.steps, strict=True)
    facts = GOLDEN["types"][kind]
    for at, text in enumerate(GOLDEN["texts"]):
        if at not in GOLDEN["unicode_version_sensitive"]:
            lengths = facts.get("reference_splits", {}).get(str(at), facts["splits"][at])
            assert [len(word) for word in split(text)] == [length for length in lengths if length], ascii(text)


def test_a_mark_before_capitals_is_a_word() -> None:
    assert words("granite-embed-multi-97m", "\u0301AB") == ["\u0301", "AB"]
    assert words("granite-embed-multi-97m", "!AB\u0301c") == ["!AB\u0301c"]


@pytest.mark.parametrize("name", sorted(GOLDEN["names"]))
def test_flags_are_those_of_llama_cpp(name: str) -> None:
    known, warning = family(name)
    facts = GOLDEN["names"][name]
    assert warning is None
    flags = (known.clean_spaces, known.whole_words, known.escape_spaces, known.add_bos, known.add_sep)
    assert flags == tuple(facts.get(key, False) for key in ("clean_spaces", "ignore_merges", "escape_whitespaces", "add_bos", "add_sep"))
    assert known.byte_level == GOLDEN["types"][facts["type"]]["byte_encode"]


def test_no_name_is_twice_in_the_table() -> None:
    names = [name for each in FAMILIES for name in each.names.split()]
    assert len(names) == len(set(names)) == len(GOLDEN["names"])


@pytest.mark.parametrize(
    ("name", "part"),
    [("", "names no pre-tokenizer"), ("never-heard\n\x1b[2J", "unknown pre-tokenizer 'never-heard\\n\\x1b[2J'")],
)
def test_an_unknown_name_gets_the_default_and_a_warning(name: str, part: str) -> None:
    known, warning = family(name)
    assert known is family("default")[0]
    assert warning is not None
    assert part in warning
    assert warning.isprintable()


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("chosen", FAMILIES, ids=lambda each: each.names.split()[0])
def test_words_join_to_the_text(chosen: Family, strict: bool) -> None:
    split = splitter((strict and chosen.trained) or chosen.steps, strict)

    @settings(max_examples=25, deadline=None)
    @given(st.text(st.one_of(st.characters(), st.sampled_from(" \n'1a世é\u0301½!")), max_size=60))
    def check(text: str) -> None:
        pieces = list(split(text))
        assert "".join(pieces) == text
        assert all(pieces)

    check()


@pytest.mark.parametrize("text", ["a", " ", "\n", "1", "世", "!", "\u0301", "'", "aA", "Aé", " \t", "\u3000"], ids=ascii)
def test_time_is_linear_on_runs(text: str) -> None:
    run = text * (LONG // len(text)) + "x"
    began = time.process_time()
    for each in FAMILIES:
        splitter(each.steps)(run)
        if each.trained:
            splitter(each.trained, strict=True)(run)
    assert time.process_time() - began < 0.2 * len(FAMILIES)
