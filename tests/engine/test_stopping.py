import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerun.engine.stopping import StopStrings
from edgerun.errors import UsageError


def run(stops, pieces):
    stream, said = StopStrings(stops), []
    for piece in pieces:
        text, stopped = stream.feed(piece)
        said.append(text)
        if stopped:
            return "".join(said), True
    return "".join(said) + stream.flush(), False


def obvious(stops, text):
    """Character by character: the first place where a stop string is complete."""
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            return text[: end - max(map(len, complete))], True
    return text, False


def test_text_without_stops_comes_at_once():
    stream = StopStrings()
    assert stream.feed("anything") == ("anything", False)
    assert stream.flush() == ""


def test_only_what_may_be_a_stop_string_waits():
    stream = StopStrings(["\n\n", "User:"])
    assert stream.feed("Hello\n") == ("Hello", False)
    assert stream.feed("Use") == ("\n", False)
    assert stream.feed("ful") == ("Useful", False)
    assert stream.feed("\n\nmore") == ("", True)
    assert stream.feed("still") == ("", True)
    assert stream.flush() == ""


def test_what_waited_comes_at_the_end():
    stream = StopStrings(["abc"])
    assert stream.feed("xab") == ("x", False)
    assert stream.flush() == "ab"


def test_overlapping_stops_end_at_the_first_complete_one():
    assert run(["abcd", "bc"], ["abcd"]) == run(["abcd", "bc"], "abcd") == ("a", True)
    assert run(["abc", "bc"], ["xabc"]) == ("x", True)
    assert run(["aab"], "aaab") == ("a", True)


@given(
    stops=st.lists(st.text("ab", min_size=1, max_size=5), max_size=4),
    pieces=st.lists(st.text("abc", max_size=6), max_size=12),
)
def test_cuts_do_not_matter(stops, pieces):
    assert run(stops, pieces) == obvious(stops, "".join(pieces))


def test_empty_stop_string():
    with pytest.raises(UsageError, match="--stop"):
        StopStrings(["a", ""])
