from __future__ import annotations

from collections.abc import Iterator

import pytest

from edgerun.engine.stats import Stats
from edgerun.engine.stopping import StopStrings
from edgerun.stream import Piece, Reply, Stream
from edgerun.text.toolcalls import ToolCall

TEXT = "Paris is the capital."


class Letters:
    """Id n is the n-th letter of `text`; '~' is an incomplete code point, which waits for the next id."""

    def __init__(self, text: str) -> None:
        self.text, self.held = text, ""

    def push(self, id: int) -> str:
        letter = self.text[id]
        if letter == "~":
            self.held = "?"
            return ""
        letter, self.held = self.held + letter, ""
        return letter

    def flush(self) -> str:
        return self.held


class Halves:
    """What comes before '|' is reasoning."""

    def __init__(self) -> None:
        self.kind = "reasoning"

    def feed(self, text: str) -> list[tuple[str, str]]:
        if "|" not in text:
            return [(self.kind, text)]
        before, _, after = text.partition("|")
        self.kind = "text"
        return [("reasoning", before), ("text", after)]

    def flush(self) -> list[tuple[str, str]]:
        return [(self.kind, "")]


def ids(text: str, stats: Stats) -> Iterator[int]:
    try:
        yield from range(len(text))
        stats.finish_reason = "length"
    finally:
        stats.finish_reason = stats.finish_reason or "cancelled"


def stream(text: str = TEXT, stop: list[str] | None = None, **more: object) -> Stream:
    stats = Stats()
    return Stream(ids(text, stats), stats, Letters(text), StopStrings(stop or []), **more)   # type: ignore[arg-type]


def test_pieces_come_as_they_are_made() -> None:
    answer = stream()
    assert (next(answer), next(answer)) == ("P", "a")
    assert answer.finish_reason is None
    assert "".join(answer) == TEXT[2:]
    assert answer.reply == Reply(TEXT, stats=answer.stats)
    assert answer.finish_reason == "length"
    assert str(answer.reply) == TEXT


def test_a_stop_string_ends_the_answer_and_is_not_part_of_it() -> None:
    answer = stream(stop=[" capital", "zzz"])
    assert "".join(answer) == "Paris is the"
    assert answer.finish_reason == "stop"


def test_what_looked_like_a_stop_string_is_given_at_the_end() -> None:
    assert "".join(stream(stop=["capital.!"])) == TEXT


def test_incomplete_text_is_given_at_the_end() -> None:
    assert "".join(stream("ab~c~")) == "ab?c?"


def test_reasoning_is_told_apart() -> None:
    answer = stream("hm...|Paris.", splitter=Halves())
    pieces = list(answer)
    assert [p.kind for p in pieces] == ["reasoning"] * 5 + ["text"] * 6
    assert (answer.reply.reasoning, answer.reply.text) == ("hm...", "Paris.")


def test_echo_comes_first() -> None:
    assert list(stream("b", echo="a ")) == ["a ", "b"]


def test_tool_calls_are_taken_out_of_the_text() -> None:
    text = 'Yes.<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    answer = stream(text, tools=True)
    assert "".join(answer) == text
    assert answer.reply.text == "Yes."
    assert answer.reply.tool_calls == [ToolCall("f", {})]
    assert answer.finish_reason == answer.reply.finish_reason == "tool_calls"
    untold = stream(text)
    assert "".join(untold) == untold.reply.text == text


@pytest.mark.parametrize("read", [0, 3])
def test_closing_keeps_what_has_come(read: int) -> None:
    answer = stream()
    for _ in range(read):
        next(answer)
    answer.close()
    assert answer.reply.text == TEXT[:read]
    assert answer.finish_reason == "cancelled"
    assert list(answer) == []


def test_ctrl_c_keeps_what_has_come() -> None:
    def interrupted() -> Iterator[int]:
        yield from range(4)
        raise KeyboardInterrupt

    answer = Stream(interrupted(), Stats(), Letters(TEXT), StopStrings([]))
    with pytest.raises(KeyboardInterrupt):
        list(answer)
    assert answer.reply.text == TEXT[:4]


def test_a_piece_is_a_string() -> None:
    assert Piece("a") == "a"
    assert Piece("a").kind == "text"
    assert isinstance(Piece("a", "reasoning"), str)
