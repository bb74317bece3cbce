"""Tells a model's reasoning from its answer while the text streams. Knows tags, not tokens and not models.

Two forms are in use. Tags: reasoning stands before the answer between an opening and a closing tag (<think>...</think>).
Channels (gpt-oss): the text is a row of messages, each with a header that names its channel. Where the tags are special
tokens, the text must be detokenized with its special tokens, or there is nothing to see here.
"""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["text", "reasoning"]
Parts = list[tuple[Kind, str]]

TAGS = [   # as they occur in chat templates, the more specific first
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel>thought", "<channel|>"),
    ("[THINK]", "[/THINK]"),
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
]
_CHANNEL, _MESSAGE = "<|channel|>", "<|message|>"
_CHANNEL_ENDS = ("<|end|>", "<|return|>", "<|call|>")


class ReasoningSplitter:
    """Splits streamed text at a pair of tags. Without tags all of it is the answer.

    Reasoning opens only before the answer has begun: a tag that an answer talks about stays text. `inside` says that the
    prompt has already opened it. White space next to the tags belongs to neither part; an answer without tags is left as it is.
    """

    def __init__(self, tags: tuple[str, str] | None = ("<think>", "</think>"), inside: bool = False) -> None:
        self._open, self._close = tags or ("", "")
        self._state: Literal["start", "reasoning", "text"] = "text" if not tags else "reasoning" if inside else "start"
        self._held = ""          # what may be the beginning of a tag, or white space before one
        self._after_tag = bool(tags) and inside   # white space is dropped until something else comes
        self.marks = tags or ()                   # the detokenizer must leave these in the text if they are special tokens

    @classmethod
    def of(cls, template: str, prompt: str = "") -> ReasoningSplitter | ChannelSplitter:
        """The splitter for the answers to a prompt made with a chat template (its source)."""
        if _CHANNEL in template:
            return ChannelSplitter()
        tags = next((pair for pair in TAGS if pair[0] in template or pair[1] in template), None)
        return cls(tags, inside=tags is not None and prompt.rstrip().endswith(tags[0]))

    def feed(self, text: str) -> Parts:
        """The parts that are certain after `text`, in order; joined by kind they are what the undivided text would give."""
        self._held += text
        parts: Parts = []
        if self._state == "start":
            self._start()
        if self._state == "reasoning":
            self._reason(parts)
        if self._state == "text":
            self._say(parts, len(self._held))
        return parts

    def flush(self) -> Parts:
        """What was held back, at the end of the text."""
        parts: Parts = []
        self._say(parts, len(self._held.rstrip()) if self._state == "reasoning" else len(self._held))
        self._held = ""
        return parts

    def _start(self) -> None:
        said = self._held.lstrip()
        if said.startswith(self._open):
            self._turn("reasoning", said[len(self._open) :])
        elif not self._open.startswith(said):
            self._state = "text"

    def _reason(self, parts: Parts) -> None:
        end = self._held.find(self._close)
        if end >= 0:
            rest = self._held[end + len(self._close) :]
            self._say(parts, len(self._held[:end].rstrip()))
            self._turn("text", rest)
        else:
            unsure = _overlap(self._held, self._close)
            self._say(parts, len(self._held[: len(self._held) - unsure].rstrip()))

    def _turn(self, state: Literal["reasoning", "text"], rest: str) -> None:
        self._state, self._held, self._after_tag = state, rest, True

    def _say(self, parts: Parts, size: int) -> None:
        """Give out the first `size` characters of what is held."""
        text, self._held = self._held[:size], self._held[size:]
        if self._after_tag:
            text = text.lstrip()
        if text:
            self._after_tag = False
            parts.append(("reasoning" if self._state == "reasoning" else "text", text))


class ChannelSplitter:
    """Splits the messages of gpt-oss: channel final is the answer, analysis and commentary are reasoning; headers vanish.

    A message to a tool (a header with to=...) stays in the answer with its header, for the reader of tool calls.
    """

    marks = ("<|start|>", _CHANNEL, "<|constrain|>", _MESSAGE, *_CHANNEL_ENDS)   # as of ReasoningSplitter

    def __init__(self) -> None:
        self._held = ""
        self._kind: Kind | None = None   # None: in a header
        self._last: Kind | None = None

    def feed(self, text: str) -> Parts:
        """The parts that are certain after `text`, in order."""
        parts: Parts = []
        self._held += text
        while self._held and (self._header(parts) if self._kind is None else self._body(parts)):
            pass
        return parts

    def flush(self) -> Parts:
        """What was held back, at the end of the text."""
        rest, self._held = self._held, ""
        if self._kind is not None:
            return [(self._kind, rest)] if rest else []
        # text without any header is an answer; an unfinished header is nobody's
        header = "<|" in rest or self._last is not None or _CHANNEL.startswith(rest)
        return [] if header else [("text", rest)]

    def _header(self, parts: Parts) -> bool:
        at = self._held.find(_MESSAGE)
        if at < 0:
            return False
        header, self._held = self._held[:at], self._held[at + len(_MESSAGE) :]
        channel = re.search(r"<\|channel\|>\s*(\w+)", header)
        self._kind = "reasoning" if channel and channel[1] in ("analysis", "commentary") and "to=" not in header else "text"
        if self._last == self._kind:
            parts.append((self._kind, "\n\n"))   # two messages in a row
        if "to=" in header:
            parts.append((self._kind, header.strip() + _MESSAGE))
        self._last = self._kind
        return True

    def _body(self, parts: Parts) -> bool:
        assert self._kind is not None
        ends = [(at, end) for end in _CHANNEL_ENDS if (at := self._held.find(end)) >= 0]
        at, end = min(ends, default=(len(self._held) - max(_overlap(self._held, end) for end in _CHANNEL_ENDS), ""))
        if at:
            parts.append((self._kind, self._held[:at]))
        self._held = self._held[at + len(end) :]
        if end:
            self._kind = None
        return bool(end)


def _overlap(text: str, tag: str) -> int:
    """Length of the longest end of `text` that is a beginning of `tag`, and not all of it."""
    return next((size for size in range(min(len(text), len(tag) - 1), 0, -1) if tag.startswith(text[-size:])), 0)
