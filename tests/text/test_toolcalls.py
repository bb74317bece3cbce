from __future__ import annotations

import pytest

from edgerun.text.toolcalls import ToolCall, split_tool_calls

WEATHER = '{"name": "weather", "arguments": {"city": "Paris"}}'
CALL = ToolCall("weather", {"city": "Paris"})


@pytest.mark.parametrize(
    ("text", "rest", "calls"),
    [
        ("Just an answer.", "Just an answer.", []),
        (f"<tool_call>\n{WEATHER}\n</tool_call>", "", [CALL]),
        (f"Let me see. <tool_call>{WEATHER}</tool_call>\n<tool_call>{WEATHER}</tool_call>", "Let me see.", [CALL, CALL]),
        (f"<tool_call>{WEATHER}", "", [CALL]),
        (f"<tool_call>{WEATHER}\n<tool_call>{WEATHER}", "", [CALL, CALL]),
        (f"<|tool_call|>[{WEATHER}, {WEATHER}]", "", [CALL, CALL]),
        ('{"name": "weather", "parameters": {"city": "Paris"}}', "", [CALL]),
        (f"[{WEATHER}]", "", [CALL]),
        ('<tool_call>{"name": "f", "arguments": "{\\"x\\": 1}"}</tool_call>', "", [ToolCall("f", {"x": 1})]),
        ('<tool_call>{"name": "f", "arguments": {"x": "</tool_call"}}</tool_call>', "", [ToolCall("f", {"x": "</tool_call"})]),
    ],
)
def test_calls(text: str, rest: str, calls: list[ToolCall]) -> None:
    assert split_tool_calls(text) == (rest, calls)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<tool_call>",
        '<tool_call>{"name": "weather", "argu',
        '<tool_call>{"name": 5, "arguments": {}}</tool_call>',
        '<tool_call>{"name": "f", "arguments": 5}</tool_call>',
        '<tool_call>{"name": "f", "arguments": "x"}</tool_call>',
        '<tool_call>{"name": "f"}</tool_call>',
        '{"temperature": 21}',
        '[{"name": "f", "arguments": {}}, 5]',
        "[" * 100_000,
        "<tool_call>" * 20_000,
        "<tool_call>{" + "[" * 100_000,
    ],
)
def test_what_is_not_a_call_stays_text(text: str) -> None:
    assert split_tool_calls(text) == (text, [])
