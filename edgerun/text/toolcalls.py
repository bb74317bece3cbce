"""Tool calls in the text of an answer. Knows no model and runs nothing: it only reads what the model wrote.

Two ways of writing them are understood, which most open models follow:

    <tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>    Hermes, Qwen, Granite, SmolLM (one object or a list)
    {"name": "f", "parameters": {"x": 1}}                          Llama 3.1 and later: the whole answer is the call
"""

from __future__ import annotations

import json
import re
from typing import Any

from edgerun.dataclass import dataclass

MARKS = ("<tool_call>", "</tool_call>", "<|tool_call|>", "<|/tool_call|>", "<|tool_call>", "<tool_call|>")   # where these are tokens, their text is needed

# A call that was cut off has no closing tag and no valid JSON, so it stays text.
_TAGGED = re.compile(r"<\|?tool_call\|?>\s*([\[{].*?)(?:<\|?/tool_call\|?>|(?=<\|?tool_call\|?>)|\Z)", re.DOTALL)


@dataclass(frozen=True)
class ToolCall:
    """A function the model wants called. The arguments are what the model wrote: check them before use."""

    name: str
    arguments: dict[str, Any]


def split_tool_calls(text: str) -> tuple[str, list[ToolCall]]:
    """The text without the calls in it, and the calls in their order. What is not a well-formed call stays text."""
    whole = _calls(text)
    if whole:
        return "", whole
    calls: list[ToolCall] = []

    def take(match: re.Match[str]) -> str:
        found = _calls(match[1])
        calls.extend(found)
        return "" if found else match[0]

    rest = _TAGGED.sub(take, text)
    return (rest.strip(), calls) if calls else (text, [])


def _calls(text: str) -> list[ToolCall]:
    """The calls of a JSON object or list; none when anything in it is not one."""
    if not text.lstrip().startswith(("{", "[")):
        return []
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    calls = [_call(item) for item in (value if isinstance(value, list) else [value])]
    return [call for call in calls if call] if all(calls) else []


def _call(item: Any) -> ToolCall | None:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        return None
    arguments = item.get("arguments", item.get("parameters"))
    if isinstance(arguments, str):   # some models write the arguments as a string of JSON
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return None
    return ToolCall(item["name"], arguments) if isinstance(arguments, dict) else None
