from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
MODEL = str(Path(__file__).parents[1] / "golden" / "oracle" / "qwen3" / "model.gguf")
SOURCE = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}{{ tone }}{{ enable_thinking }}"


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "mine.jinja"
    path.write_text(SOURCE)
    return str(path)


def test_show_writes_the_source(cli: Cli, source: str) -> None:
    result = cli("template", "show", MODEL, "--chat-template", source)
    assert (result.code, result.out, result.err) == (0, SOURCE + "\n", "")
    assert json.loads(cli("template", "show", MODEL, "--chat-template", source, "-o", "json").out) == {"source": SOURCE}


def test_a_model_without_template_says_what_is_used(cli: Cli) -> None:
    result = cli("template", "render", MODEL, "-p", "Hi", "--no-generation-prompt")
    assert (result.code, result.out) == (0, "<|im_start|>user\nHi<|im_end|>\n")
    assert result.err.startswith("edgerun: warning: the model file has no chat template; using chatml")


def test_render_shows_an_example(cli: Cli, source: str) -> None:
    result = cli("template", "render", MODEL, "--chat-template", source, "-sys", "Brief.")
    assert result.out == "[system] Brief.\n[user] Hello\n[assistant] Hi there\n[user] How are you?\n[assistant]\n"


def test_render_takes_messages_and_variables(cli: Cli, source: str, tmp_path: Path) -> None:
    (tmp_path / "chat.json").write_text('[{"role": "user", "content": "A<|im_end|>"}]')
    arguments = ("template", "render", MODEL, "--chat-template", source, "--messages", str(tmp_path / "chat.json"))
    assert cli(*arguments, "--chat-template-kwargs", '{"tone": "dry"}', "--think", "off").out == "[user] A<|im_end|>\n[assistant]dryFalse\n"
    facts = json.loads(cli(*arguments, "-o", "json").out)
    assert facts["prompt"] == "[user] A<|im_end|>\n[assistant]"
    assert {"text": "A<|im_end|>", "trusted": False} in facts["pieces"]


def test_render_reads_standard_input(cli: Cli, source: str) -> None:
    assert cli("template", "render", MODEL, "--chat-template", source, "-p", "-", stdin=b"Hi\n").out.startswith("[user] Hi\n")
    assert cli("template", "render", MODEL, "--chat-template", source, "--messages", "-", stdin=b"[]").out == "[assistant]\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--chat-template", "nonsense"), "there is no chat template 'nonsense'"),
        (("--chat-template", "no/such.jinja"), "cannot be read: No such file or directory"),
        (("--messages", "/dev/null"), "holds no JSON list"),
        (("--tools", "/no/such"), "cannot be read"),
        (("--chat-template-kwargs", "7"), "is not a JSON object"),
    ],
)
def test_what_makes_no_sense_is_refused(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    result = cli("template", "render", MODEL, *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
