"""From generated ids to the pieces of an answer. Knows how text is put together, nothing of how ids are made."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from edgerun.engine.stats import Stats
from edgerun.text.toolcalls import ToolCall, split_tool_calls

if TYPE_CHECKING:
    from edgerun.engine.stopping import StopStrings

Kind = Literal["text", "reasoning"]


class Detokenizer(Protocol):
    """Ids to text, a code point at a time."""

    def push(self, id: int) -> str:
        """The text that is complete with this id."""
        ...

    def flush(self) -> str:
        """What is left."""
        ...


class Splitter(Protocol):
    """Text to stretches of reasoning and of answer."""

    def feed(self, text: str) -> list[tuple[str, str]]:
        """(kind, text) of what can be told apart so far."""
        ...

    def flush(self) -> list[tuple[str, str]]:
        """What is left."""
        ...


class Piece(str):
    """A stretch of an answer as it comes: a str that knows its kind, `text` or `reasoning`."""

    kind: Kind

    def __new__(cls, text: str, kind: Kind = "text") -> Piece:
        """A piece of that kind."""
        piece = super().__new__(cls, text)
        piece.kind = kind
        return piece


@dataclass(frozen=True)
class Reply:
    """An answer. str(reply) is its text.

    finish_reason: tool_calls when there are any, else as in `Stats`; None while the answer is still being made.
    """

    text: str
    reasoning: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    stats: Stats = field(default_factory=Stats)

    @property
    def finish_reason(self) -> str | None:
        """Why the answer ended: stop, length, tool_calls or cancelled."""
        return "tool_calls" if self.tool_calls else self.stats.finish_reason

    def __str__(self) -> str:
        return self.text


class Stream(Iterator[Piece]):
    """The pieces of an answer, made as they are asked for.

    Closing it, or a Ctrl-C while it works, ends the answer; `reply` holds what has come until then.
    """

    def __init__(
        self, ids: Iterator[int], stats: Stats, detokenizer: Detokenizer, stops: StopStrings, splitter: Splitter | None = None, echo: str = "", tools: bool = False
    ) -> None:
        self.stats = stats
        self._ids = ids
        self._detokenizer = detokenizer
        self._stops = stops
        self._splitter = splitter
        self._tools = tools
        self._said: dict[Kind, list[str]] = {"text": [], "reasoning": []}
        self._pieces = self._run(echo)

    def __next__(self) -> Piece:
        return next(self._pieces)

    def close(self) -> None:
        """End the answer here."""
        self._pieces.close()
        _close(self._ids)
        self.stats.finish_reason = self.stats.finish_reason or "cancelled"

    @property
    def reply(self) -> Reply:
        """What has come so far."""
        text, reasoning = "".join(self._said["text"]), "".join(self._said["reasoning"])
        text, calls = split_tool_calls(text) if self._tools else (text, [])
        return Reply(text, reasoning, calls, self.stats)

    @property
    def finish_reason(self) -> str | None:
        """Why the answer ended; None while it runs."""
        return self.reply.finish_reason

    def _run(self, echo: str) -> Generator[Piece, None, None]:
        yield from self._emit([("text", echo)])
        for id in self._ids:
            text, stopped = self._stops.feed(self._detokenizer.push(id))
            yield from self._split(text)
            if stopped:
                _close(self._ids)
                self.stats.finish_reason = "stop"
                break
        else:
            text, _ = self._stops.feed(self._detokenizer.flush())
            yield from self._split(text + self._stops.flush())
        if self._splitter:
            yield from self._emit(self._splitter.flush())

    def _split(self, text: str) -> Iterator[Piece]:
        return self._emit(self._splitter.feed(text) if self._splitter and text else [("text", text)])

    def _emit(self, stretches: list[tuple[str, str]]) -> Iterator[Piece]:
        for kind, text in stretches:
            if text:
                piece = Piece(text, "reasoning" if kind == "reasoning" else "text")
                self._said[piece.kind].append(piece)
                yield piece


def _close(ids: Iterator[int]) -> None:
    if isinstance(ids, Generator):
        ids.close()
