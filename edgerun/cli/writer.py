"""An answer as JSON on stdout: one object at the end, or one for each piece. Knows nothing of how the answer is made.

`terminal.AnswerText` is the third writer, for people; all have `write(text, kind)` and `end(reply)`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from edgerun.cli.terminal import AnswerText, is_terminal, stdout

if TYPE_CHECKING:
    from edgerun.cli.options import Output, Thinking
    from edgerun.engine.stats import Stats
    from edgerun.stream import Reply


class Writer(Protocol):
    """What an answer is given to as it comes."""

    def write(self, text: str, kind: str) -> None:
        """Take a piece of that kind, `text` or `reasoning`."""
        ...

    def end(self, reply: Reply) -> None:
        """Take the whole answer: nothing more will come."""
        ...


def writer_for(output: Output, model: str, think: Thinking | None = None) -> Writer:
    """The writer for `-o output`; think: as for AnswerText, JSON always has the reasoning. OutputError when there is no stdout."""
    if output == "text":
        return AnswerText(think)
    return (JsonWriter if output == "json" else JsonLinesWriter)(model)


class JsonWriter:
    """One object: model, text, reasoning, finish_reason, usage, stats."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._stream = stdout()

    def write(self, text: str, kind: str) -> None:
        """Nothing yet."""

    def end(self, reply: Reply) -> None:
        """Write the object."""
        _write(self._stream, {"model": self.model, "text": reply.text, "reasoning": reply.reasoning} | _ending(reply))


class JsonLinesWriter:
    """One line for each piece, {"type": "text" or "reasoning", "text": ...}, then one of type `end` with the rest."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._stream = stdout()

    def write(self, text: str, kind: str) -> None:
        """Write the line of this piece."""
        _write(self._stream, {"type": kind, "text": text})

    def end(self, reply: Reply) -> None:
        """Write the last line."""
        _write(self._stream, {"type": "end", "model": self.model} | _ending(reply))


def _ending(reply: Reply) -> dict[str, Any]:
    return {"finish_reason": reply.finish_reason, "usage": _usage(reply.stats), "stats": reply.stats.summary()}


def _usage(stats: Stats) -> dict[str, int]:
    """Token counts under the names that OpenAI's API made known."""
    return {
        "prompt_tokens": stats.prompt_tokens,
        "cached_tokens": stats.cached_tokens,
        "completion_tokens": stats.generated_tokens,
        "total_tokens": stats.prompt_tokens + stats.generated_tokens,
    }


def _write(stream: TextIO, value: dict[str, Any]) -> None:
    # JSON escapes the controls below 0x20 by itself; a terminal shall not get those above 0x7F either.
    stream.write(json.dumps(value, ensure_ascii=is_terminal(stream)) + "\n")
    stream.flush()
