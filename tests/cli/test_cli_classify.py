from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fake_llm import FakeLLM

Cli = Callable[..., Any]


def test_the_best_label_its_probability_and_the_text(cli: Cli, llm: FakeLLM) -> None:
    result = cli("classify", "--labels", "good, worst", "one", "two")
    assert (result.code, result.err) == (0, "")
    assert result.out == "worst\t0.5000\tone\nworst\t0.5000\ttwo\n"
    assert llm.calls == [{"texts": ["one", "two"], "labels": ["good", "worst"], "query": None}]
    assert llm.closed


def test_lines_for_a_query(cli: Cli, llm: FakeLLM) -> None:
    result = cli("classify", "-m", "x.gguf", "-c", "64", "-t", "1", "--query", "What?", "-", stdin=b"this\nthat\n")
    assert result.out == "0.4000\tthis\n0.4000\tthat\n"
    assert llm.calls == [{"texts": ["this", "that"], "labels": None, "query": "What?"}]
    assert llm.loaded == {"ref": "x.gguf", "context": 64, "threads": 1, "device": "cpu"}


def test_for_programs(cli: Cli, llm: FakeLLM) -> None:
    facts = {"text": "one", "label": "bb", "labels": [{"name": "a", "score": 1.0, "probability": 0.1}, {"name": "bb", "score": 2.0, "probability": 0.2}]}
    assert [json.loads(line) for line in cli("classify", "--labels", "a,bb", "-o", "jsonl", "one").out.splitlines()] == [facts]
    assert json.loads(cli("classify", "--labels", "a,bb", "-o", "json", "one").out) == {"model": "smollm2:135m", "results": [facts]}


def test_no_text_is_wrong_usage(cli: Cli, llm: FakeLLM) -> None:
    result = cli("classify", "--labels", "a,b")
    assert (result.code, result.out) == (2, "")
    assert "there is no text" in result.err
