from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_llm import FakeLLM

Cli = Callable[..., Any]


def test_a_line_for_each_text(cli: Cli, llm: FakeLLM) -> None:
    result = cli("embed", "one", "a two")
    assert (result.code, result.err) == (0, "")
    assert result.out == '{"text": "one", "embedding": [3.0, 0.1]}\n{"text": "a two", "embedding": [5.0, 0.1]}\n'
    assert llm.calls == [{"texts": ["one", "a two"], "pooling": None, "normalise": True}]
    assert llm.loaded == {"ref": "smollm2:135m", "context": None, "threads": None, "device": "auto"}
    assert llm.closed


def test_lines_of_standard_input(cli: Cli, llm: FakeLLM) -> None:
    assert cli("embed", "-q", "-", "last", stdin=b"first\r\n\nsecond \xff\n").code == 0
    assert llm.calls[0]["texts"] == ["first", "", "second \ufffd", "last"]
    assert cli("embed", "-", stdin=b"").out == ""


def test_every_option_reaches_the_model(cli: Cli, llm: FakeLLM) -> None:
    result = cli("embed", "-m", "x.gguf", "-c", "128", "-t", "2", "--pooling", "none", "--no-normalize", "-o", "json", "a bc")
    assert json.loads(result.out) == {"model": "x.gguf", "embeddings": [[[1.0, 0.1], [2.0, 0.1]]]}
    assert llm.calls == [{"texts": ["a bc"], "pooling": "none", "normalise": False}]
    assert llm.loaded == {"ref": "x.gguf", "context": 128, "threads": 2, "device": "auto"}


def test_npy_is_written_to_a_file(cli: Cli, llm: FakeLLM, tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    result = cli("embed", "-o", "npy", "--to", str(path), "one", "a two")
    assert (result.code, result.out) == (0, "")
    found = np.load(path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([[3, 0.1], [5, 0.1]], np.float32))


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_npy_through_a_pipe(spawn: Callable[..., Any], unbuffered: str) -> None:
    out, err = spawn("embed", "-o", "npy", "--pooling", "mean", "one", environment={"PYTHONUNBUFFERED": unbuffered}).communicate(timeout=60)
    assert err == b""
    np.testing.assert_array_equal(np.load(io.BytesIO(out)), np.array([[3, 0.1]], np.float32))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "there is no text"),
        (("-", "-"), 2, "- can stand for standard input once only"),
        (("-o", "npy", "--pooling", "none", "a", "b"), 2, "npy holds a row for each text"),
        (("-o", "npz", "a"), 2, "'npz' is none of jsonl, json, npy"),
        (("--pooling", "max", "a"), 2, "'max' is none of mean, cls, last, none"),
        (("--to", "/nowhere/at/all", "a"), 4, "'/nowhere/at/all' cannot be written: No such file or directory"),
    ],
)
def test_what_cannot_be_done(cli: Cli, llm: FakeLLM, arguments: tuple[str, ...], code: int, message: str) -> None:
    result = cli("embed", *arguments)
    assert result.code == code
    assert message in result.err
    assert result.out == ""
