import itertools
import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerun.text.quoted import Quoted, flags_of, gather, has_quoted, pieces, quote, quote_all

OWN, THEIRS = "abc \n\t.<", "ABC \n\t.<"
mixtures = st.lists(st.text(OWN, max_size=6) | st.text(THEIRS, max_size=6).map(quote), max_size=5).map(gather)

SAME = {   # operation on a str: flags must stay with their letters
    "strip": lambda text: text.strip(),
    "strip(chars)": lambda text: text.strip("a."),
    "lstrip": lambda text: text.lstrip(),
    "rstrip": lambda text: text.rstrip("C\n"),
    "slice": lambda text: text[1:-1],
    "reverse": lambda text: text[::-1],
    "items": lambda text: list(text),
    "index": lambda text: [text[at] for at in range(-len(text), len(text))],
    "split": lambda text: text.split(),
    "split(sep)": lambda text: text.split("<"),
    "split(max)": lambda text: text.split(None, 1),
    "split(sep,max)": lambda text: text.split(".", 1),
    "rsplit": lambda text: text.rsplit(None, 2),
    "rsplit(sep)": lambda text: text.rsplit(".", 1),
    "splitlines": lambda text: text.splitlines(),
    "splitlines(True)": lambda text: text.splitlines(True),
    "partition": lambda text: text.partition("<"),
    "rpartition": lambda text: text.rpartition("<"),
    "removeprefix": lambda text: text.removeprefix(text[:2]),
    "removesuffix": lambda text: text.removesuffix(text[-2:]),
    "add": lambda text: text + "a",
    "radd": lambda text: "a" + text,
    "mul": lambda text: text * 2,
    "join": lambda text: text.join(["a", "b", "c"]),
    "replace": lambda text: text.replace("<", "a"),
    "replace(count)": lambda text: text.replace(" ", "", 1),
}


@pytest.mark.parametrize("name", SAME)
@settings(max_examples=30, deadline=None)
@given(text=mixtures)
def test_operations_are_those_of_str_and_flags_follow(name, text):
    got, plain = SAME[name](text), SAME[name](str.__str__(text))
    assert got == plain
    for part in [got] if isinstance(got, str) else got:
        for char, own in ((char, own) for stretch, own in pieces(part) for char in stretch):
            if char.isalpha():
                assert own == char.islower()


@given(text=mixtures)
def test_changed_letters_stay_quoted(text):
    for method in ("lower", "upper", "title", "capitalize", "casefold", "swapcase"):
        changed = getattr(text, method)()
        assert changed == getattr(str.__str__(text), method)()
        assert flags_of(changed) == flags_of(text)
    for padded, plain in (
        (text.center(40, "*"), str.__str__(text).center(40, "*")),
        (text.ljust(40), str.__str__(text).ljust(40)),
        (text.rjust(40), str.__str__(text).rjust(40)),
        (text.zfill(40), str.__str__(text).zfill(40)),
        (text.replace("", "-"), str.__str__(text).replace("", "-")),
    ):
        assert padded == plain
        assert has_quoted(padded) or not has_quoted(text)
    assert (quote("ß") + "x").upper() == "SSX"
    assert has_quoted((quote("ß") + "x").upper())


@given(text=mixtures)
def test_pieces_are_the_text(text):
    stretches = pieces(text)
    assert "".join(stretch for stretch, _ in stretches) == text
    assert all(type(stretch) is str and stretch for stretch, _ in stretches)
    assert all(first[1] != second[1] for first, second in itertools.pairwise(stretches))


def test_it_is_the_str_it_looks_like():
    text = quote("user")
    assert text == "user"
    assert hash(text) == hash("user")
    assert {"user": 1}[text] == 1
    assert "se" in text
    assert json.dumps([text]) == '["user"]'
    assert isinstance(str(text), Quoted)
    assert f"{text}" == "user"
    with pytest.raises(TypeError):
        text["x"]
    with pytest.raises(IndexError):
        text[9]
    with pytest.raises(TypeError):
        text + 1
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        text.join([1])


def test_quote_all_goes_everywhere():
    value = quote_all({"a": ["b", 1, None, 2.5, True, ("c", {"d": "e"})]})
    assert value == {"a": ["b", 1, None, 2.5, True, ["c", {"d": "e"}]]}
    assert all(has_quoted(key) for key in value)
    assert has_quoted(value["a"][5][1])
    assert not has_quoted([1, None, {"plain": "text"}])
    with pytest.raises(TypeError, match="bytes"):
        quote_all([b"x"])
