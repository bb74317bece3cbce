from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgerun.cli import tokenize
from edgerun.gguf import GGUFWriter

Cli = Callable[..., Any]
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁the", "▁e", "\u2581\x1b", "s"]


@pytest.fixture
def vocabulary(tmp_path: Path) -> str:
    """A file that holds nothing but a vocabulary."""
    path = tmp_path / "vocabulary.gguf"
    with GGUFWriter(path) as writer:
        writer.add("general.architecture", "bert")
        writer.add("tokenizer.ggml.model", "bert")
        writer.add("tokenizer.ggml.tokens", TOKENS)
        writer.add("tokenizer.ggml.token_type", [3] * 4 + [1] * 4, "i32")
        for name, token in (("unknown", 1), ("cls", 2), ("seperator", 3)):
            writer.add(f"tokenizer.ggml.{name}_token_id", token, "u32")
    return str(path)


def test_a_line_for_each_token(cli: Cli, vocabulary: str) -> None:
    result = cli("tokenize", "-m", vocabulary, "The", "thes")
    assert (result.code, result.err) == (0, "")
    assert result.out == "2  '[CLS]'\n4  ' the'\n4  ' the'\n7  's'\n3  '[SEP]'\n"


def test_ids_and_count(cli: Cli, vocabulary: str) -> None:
    assert cli("tokenize", "-m", vocabulary, "--ids", "the thes").out == "[2, 4, 4, 7, 3]\n"
    assert cli("tokenize", "-m", vocabulary, "--ids", "--no-bos", "the").out == "[4]\n"
    assert cli("tokenize", "-m", vocabulary, "--count", "the").out == "3\n"
    assert cli("tokenize", "-m", vocabulary, "--ids", "").out == "[2, 3]\n"


def test_special_tokens_on_request(cli: Cli, vocabulary: str) -> None:
    assert cli("tokenize", "-m", vocabulary, "--ids", "--no-bos", "[SEP]").out == "[1, 1, 1]\n"
    assert cli("tokenize", "-m", vocabulary, "--ids", "--no-bos", "--special", "the [SEP]").out == "[4, 3]\n"


def test_json(cli: Cli, vocabulary: str) -> None:
    facts = json.loads(cli("tokenize", "-m", vocabulary, "--no-bos", "-o", "json", "thes").out)
    assert facts == {"count": 2, "ids": [4, 7], "tokens": [{"id": 4, "text": " the", "bytes": "20746865"}, {"id": 7, "text": "s", "bytes": "73"}]}


def test_standard_input(cli: Cli, vocabulary: str) -> None:
    assert cli("tokenize", "-m", vocabulary, "--ids", "-", stdin=b"the\nthe\n").out == "[2, 4, 4, 3]\n"


def test_strict(cli: Cli, vocabulary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("tokenize", "-m", vocabulary, "--ids", "--no-bos", "the\x0bthe")
    assert cli(*arguments).out == "[4, 4]\n"
    assert cli(*arguments, "--tokenizer", "strict").out == "[1]\n"
    monkeypatch.setenv("EDGERUN_TOKENIZER", "strict")
    assert cli(*arguments).out == "[1]\n"
    assert cli(*arguments, "--tokenizer", "loose").code == 2


def test_a_terminal_gets_colours_and_no_control_characters(cli: Cli, vocabulary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import edgerun

    chosen = edgerun.load_tokenizer(vocabulary)
    assert tokenize._lines(chosen, [6, 7], coloured=True) == [
        "\x1b[2m6\x1b[0m  \x1b[30;46m \\x1b\x1b[0m\n",
        "\x1b[2m7\x1b[0m  \x1b[30;43ms\x1b[0m\n",
    ]
    monkeypatch.setattr(tokenize, "styled", lambda stream: True)
    assert "\x1b[30;43m the\x1b[0m" in cli("tokenize", "-m", vocabulary, "the").out


def test_a_doubtful_file_gives_a_warning(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "odd.gguf"
    with GGUFWriter(path) as writer:
        writer.add("tokenizer.ggml.model", "gpt2")
        writer.add("tokenizer.ggml.pre", "never-heard")
        writer.add("tokenizer.ggml.tokens", ["a", "b", "ab"])
        writer.add("tokenizer.ggml.merges", ["a b"])
    result = cli("tokenize", "-m", str(path), "--ids", "ab")
    assert (result.code, result.out) == (0, "[2]\n")
    assert result.err.startswith("edgerun: warning: the file names the unknown pre-tokenizer 'never-heard'")
    assert cli("tokenize", "-m", str(path), "--ids", "-q", "ab").err == ""


def test_errors(cli: Cli, vocabulary: str, tmp_path: Path) -> None:
    assert cli("tokenize", "-m", vocabulary).code == 2
    (tmp_path / "no.gguf").write_bytes(b"GGUF")
    assert cli("tokenize", "-m", str(tmp_path / "no.gguf"), "x").code == 3
