from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_llm import FakeLLM

from edgerun.errors import ModelError
from edgerun.stream import Piece

Cli = Callable[..., Any]
ANSWER = "The sky is blue."
REPLIES: dict[str, Any] = {"max_tokens": None, "stop": []}


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_an_answer_is_all_that_is_written(cli: Cli, llm: FakeLLM) -> None:
    result = cli("run", "Why?")
    assert (result.code, result.out, result.err) == (0, ANSWER + "\n", "")
    assert llm.calls == [{"messages": user("Why?")} | REPLIES]
    assert llm.loaded == {"ref": "smollm2:135m", "context": None, "threads": None, "device": "auto", "kv": "f16", "lora": [], "tokenizer": "default", "chat_template": None, "repack": "later"}
    assert llm.closed


def test_every_option_reaches_the_model(cli: Cli, llm: FakeLLM) -> None:
    options = "-m x.gguf -n 5 -c 512 -t 3 --device nvidia -ctk q8_0 -ctv q4_0 --temp 0.5 --top-k 7 --top-p 0.9 --min-p 0.1 --seed 42 --repeat-penalty 1.1 --repeat-last-n 32"
    more = "--no-repack --presence-penalty 0.2 --frequency-penalty -0.3 --logit-bias 5+1.5 --logit-bias 7-inf --stop A --stop B -sys Brief. --think off --chat-template chatml Hello there"
    kwargs = '{"tone": "dry"}'
    adapters = "--lora a.gguf --lora C:\\b.gguf:0.5 --lora ./c.gguf:-2"
    assert cli("run", "--chat-template-kwargs", kwargs, *options.split(), *adapters.split(), *more.split()).code == 0
    lora = [(Path("a.gguf"), 1.0), (Path("C:\\b.gguf"), 0.5), (Path("c.gguf"), -2.0)]
    assert llm.loaded == {"ref": "x.gguf", "context": 512, "threads": 3, "device": "nvidia", "kv": "q8_0:q4_0", "lora": lora, "tokenizer": "default", "chat_template": "chatml", "repack": "never"}
    assert llm.calls == [{
        "messages": [{"role": "system", "content": "Brief."}, *user("Hello there")], "think": False, "template_kwargs": {"tone": "dry"}, "max_tokens": 5, "stop": ["A", "B"], "temperature": 0.5, "top_k": 7,
        "top_p": 0.9, "min_p": 0.1, "seed": 42, "repeat_penalty": 1.1, "repeat_last_n": 32, "presence_penalty": 0.2, "frequency_penalty": -0.3,
        "logit_bias": {5: 1.5, 7: -math.inf},
    }]  # fmt: skip


def test_every_option_has_a_variable(cli: Cli, llm: FakeLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {
        "MODEL": "x.gguf", "MAX_TOKENS": "5", "CTX_SIZE": "512", "THREADS": "3", "DEVICE": "gpu", "CACHE_TYPE_K": "q8_0", "CACHE_TYPE_V": "q4_0", "LORA": "a.gguf b.gguf:2", "TEMP": "0.5", "TOP_K": "7", "TOP_P": "0.9", "MIN_P": "0.1", "SEED": "42",
        "REPEAT_PENALTY": "1.1", "REPEAT_LAST_N": "32", "PRESENCE_PENALTY": "0.2", "FREQUENCY_PENALTY": "-0.3", "LOGIT_BIAS": "5+1.5 7-inf", "STOP": "A B", "SYSTEM": "Brief.",
        "NO_REPACK": "1", "OUTPUT": "json", "STATS": "1", "QUIET": "1", "THINK": "off", "TOKENIZER": "strict", "CHAT_TEMPLATE": "chatml", "CHAT_TEMPLATE_KWARGS": '{"tone": "dry"}',
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(f"EDGERUN_{name}", value)
    result = cli("run", "Hello")
    assert llm.loaded == {"ref": "x.gguf", "context": 512, "threads": 3, "device": "gpu", "kv": "q8_0:q4_0", "lora": [(Path("a.gguf"), 1.0), (Path("b.gguf"), 2.0)], "tokenizer": "strict", "chat_template": "chatml", "repack": "never"}
    assert llm.calls == [{
        "messages": [{"role": "system", "content": "Brief."}, *user("Hello")], "think": False, "template_kwargs": {"tone": "dry"}, "max_tokens": 5, "stop": ["A", "B"], "temperature": 0.5, "top_k": 7,
        "top_p": 0.9, "min_p": 0.1, "seed": 42, "repeat_penalty": 1.1, "repeat_last_n": 32, "presence_penalty": 0.2, "frequency_penalty": -0.3,
        "logit_bias": {5: 1.5, 7: -math.inf},
    }]  # fmt: skip
    assert json.loads(result.out)["text"] == ANSWER
    assert "first token:" in result.err
    assert set(variables) | {"RAW"} == set(re.findall(r"EDGERUN_(\w+)", cli("run", "--help").out))


@pytest.mark.parametrize("arguments", [
    ("-sys", "Brief.", "Hi"), ("-sys=Brief.", "Hi"), ("--system", "Brief.", "Hi"), ("--system=Brief.", "Hi"), ("Hi", "-sys", "Brief."),
    ("-qsys", "Brief.", "Hi"), ("-n5", "-sys", "Brief.", "-q", "Hi"),
])  # fmt: skip
def test_sys_with_one_dash(cli: Cli, llm: FakeLLM, arguments: tuple[str, ...]) -> None:
    result = cli("run", *arguments)
    if arguments[0] == "-qsys":
        assert (result.code, llm.calls) == (2, [])
    else:
        assert llm.calls[0]["messages"] == [{"role": "system", "content": "Brief."}, *user("Hi")]


def test_defaults_may_be_asked_for(cli: Cli, llm: FakeLLM) -> None:
    assert cli("run", "-n", "-1", "-c", "0", "--seed", "-1", "Hi").code == 0
    assert llm.loaded["context"] is None
    assert llm.calls == [{"messages": user("Hi")} | REPLIES]


def test_raw_continues_a_text(cli: Cli, llm: FakeLLM) -> None:
    assert cli("run", "--raw", "-n", "2", "-p", "The capital of France is").out == ANSWER + "\n"
    assert llm.calls == [{"prompt": "The capital of France is", "max_tokens": 2, "stop": []}]


def test_reasoning_is_not_the_answer(cli: Cli, llm: FakeLLM) -> None:
    llm.answers = [[Piece("Let me think.", "reasoning"), Piece("Blue.")]]
    assert cli("run", "Why?").out == "Blue.\n"


def test_bytes_pass_unchanged_into_a_pipe(cli: Cli, llm: FakeLLM) -> None:
    llm.answers = [[Piece("a\x1b[2Jb\r\n"), Piece("é\u202e\n")]]
    assert cli("run", "Why?").out == "a\x1b[2Jb\r\né\u202e\n"


def test_json_is_one_object(cli: Cli, llm: FakeLLM) -> None:
    llm.answers = [[Piece("Hm.", "reasoning"), Piece("Blüe"), Piece(".")]]
    result = cli("run", "-o", "json", "Why?")
    assert result.out.count("\n") == 1
    assert "Blüe" in result.out
    value = json.loads(result.out)
    stats = value.pop("stats")
    assert value == {
        "model": "smollm2:135m", "text": "Blüe.", "reasoning": "Hm.", "finish_reason": "stop",
        "usage": {"prompt_tokens": 12, "cached_tokens": 2, "completion_tokens": 3, "total_tokens": 15},
    }  # fmt: skip
    assert stats["ttft_seconds"] == 0.6
    assert stats["decode_tokens_per_second"] == pytest.approx(80)


def test_jsonl_is_an_object_for_each_piece(cli: Cli, llm: FakeLLM) -> None:
    llm.answers = [[Piece("Hm.", "reasoning"), Piece("Blue")]]
    lines = [json.loads(line) for line in cli("run", "-o", "jsonl", "Why?").out.splitlines()]
    assert lines[:2] == [{"type": "reasoning", "text": "Hm."}, {"type": "text", "text": "Blue"}]
    assert (lines[2]["type"], lines[2]["finish_reason"], lines[2]["usage"]["completion_tokens"]) == ("end", "stop", 2)
    assert set(lines[2]) == {"type", "model", "finish_reason", "usage", "stats"}


def test_stats_go_to_stderr(cli: Cli, llm: FakeLLM) -> None:
    result = cli("run", "--stats", "Why?")
    assert result.out == ANSWER + "\n"
    assert result.err == """\
load:           0.25 s
compile:        0.00 s
first token:    0.60 s
prompt:         12 tokens (2 were in memory), 20.0 tokens/s
answer:         3 tokens, 80.0 tokens/s, 80% of the 10.0 GB/s this machine reads
between tokens: 12.5 ms median, 12.5 ms for 95 %
memory:         123 MB at most
ended:          stop
"""


def test_warnings_are_shown_unless_quiet(cli: Cli, llm: FakeLLM) -> None:
    llm.warnings = ["the file has no\nchat template"]
    assert cli("run", "Hi").err == "edgerun: warning: the file has no\\nchat template\n"
    assert cli("run", "-q", "Hi").err == ""


def test_what_was_said_before_an_error_stays(cli: Cli, llm: FakeLLM) -> None:
    llm.answers = [[Piece("The sky"), ModelError("block 3 is damaged")]]
    result = cli("run", "Why?")
    assert (result.code, result.out, result.err) == (3, "The sky", "edgerun: block 3 is damaged\n")


def test_wrong_values_are_usage_errors(cli: Cli, llm: FakeLLM) -> None:
    for arguments in (("--temp", "hot"), ("--top-p", "1.5"), ("-n", "-2"), ("-t", "0"), ("-o", "xml"), ("--frobnicate",), ("--stop",)):
        result = cli("run", *arguments)
        assert result.code == 2, arguments
        assert result.err.startswith("edgerun: ")
        assert arguments == ("--stop",) or result.err.endswith(" (see edgerun run --help)\n")
        assert result.err.count("\n") == 1
    assert llm.calls == []


def test_numbers_that_are_none(cli: Cli, llm: FakeLLM) -> None:
    for value in ("nan", "inf", "1e999"):
        assert cli("run", "--presence-penalty", value, "Hi").code == 2
    assert llm.calls == []


def test_a_bias_that_is_none(cli: Cli, llm: FakeLLM) -> None:
    result = cli("run", "--logit-bias", "\x1b5", "Hi")
    assert (result.code, result.err) == (2, "edgerun: --logit-bias '\\x1b5' is not a token id with a bias, as 15043+1.5 or 15043-inf\n")


def test_prompt_from_options_words_file_and_pipe(cli: Cli, llm: FakeLLM, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("from a file\n")
    assert cli("run", "-p", "First", "two", "words", "-f", str(tmp_path / "notes.txt"), stdin=b"from a pipe\n").code == 0
    assert llm.calls[0]["messages"] == user("First\ntwo words\nfrom a file\nfrom a pipe")


THOUGHT = (Piece("Hm.", "reasoning"), Piece("Blue."))


@pytest.mark.parametrize(("options", "out"), [((), "Blue.\n"), (("--think", "show"), "Hm.\n\nBlue.\n"), (("--think", "hide"), "Blue.\n"), (("--think", "off"), "Blue.\n")])
def test_reasoning_goes_into_a_pipe_only_when_asked_for(cli: Cli, llm: FakeLLM, options: tuple[str, ...], out: str) -> None:
    llm.answers = [list(THOUGHT)]
    result = cli("run", "Why?", *options)
    assert (result.code, result.out, result.err) == (0, out, "")
    asked = {} if options in ((), ("--think", "hide")) else {"think": options[1] == "show"}
    assert llm.calls == [{"messages": user("Why?")} | asked | REPLIES]


@pytest.mark.parametrize("kwargs", ["[1]", "x", "[" * 100_000, "1"])
def test_template_variables_that_are_no_object(cli: Cli, llm: FakeLLM, kwargs: str) -> None:
    result = cli("run", "Why?", "--chat-template-kwargs", kwargs)
    assert result.code == 2
    assert "is not a JSON object" in result.err
    assert not llm.loaded


def test_a_scale_that_is_none_is_told_before_anything_is_loaded(cli: Cli, llm: FakeLLM, tmp_path: Path) -> None:
    result = cli("run", "--lora", "a.gguf:much", "Hello")
    assert (result.code, result.out) == (2, "")
    assert result.err == "edgerun: --lora 'a.gguf:much' does not exist, and what is behind its colon is no scale, as in FILE:0.5\n"
    assert not llm.loaded
    (tmp_path / "b:2").touch()   # a name that only looks like it
    assert cli("run", "--lora", str(tmp_path / "b:2"), "Hello").code == 0
    assert llm.loaded["lora"] == [(tmp_path / "b:2", 1.0)]
