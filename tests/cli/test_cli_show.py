from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgerun.api
from edgerun.backends.executor import MemoryPlan
from edgerun.errors import Unsupported
from edgerun.gguf import GGUFWriter

Cli = Callable[..., Any]

TEXT = """\
model         {path}
file          {path}
size          {size}
architecture  llama
parameters    0.0 M
context       4096
license       mit\\x1b]0;evil\\x07

Metadata
  general.architecture   llama
  general.name           two\\nlines \\x1b[31mred
  general.license        mit\\x1b]0;evil\\x07
  llama.context_length   4096
  llama.scale            nan
  short.list             [1, 2, 3]
  tokenizer.ggml.tokens  [str; 100]
  long                   {long}...

Tensors
  F32  2  0.6 kB
  F16  1  0.1 kB

Template
  {{% for m in messages %}}
  {{{{ m.content }}}}\\x9b2J
  {{% endfor %}}

Memory at a context of 4096
  weights    1.0 MB
  key/value  2.0 MB
  scratch    3.0 MB
  total      6.0 MB
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A file that holds one of everything, control characters among them."""
    path = tmp_path / "m.gguf"
    with GGUFWriter(path) as writer:
        for key, value in {
            "general.architecture": "llama", "general.name": "two\nlines \x1b[31mred", "general.license": "mit\x1b]0;evil\x07",
            "llama.context_length": 4096, "llama.scale": float("nan"), "short.list": [1, 2, 3],
            "tokenizer.ggml.tokens": [f"t{i}" for i in range(100)], "long": "x" * 500,
            "tokenizer.chat_template": "{% for m in messages %}\n{{ m.content }}\x9b2J\n{% endfor %}",
        }.items():  # fmt: skip
            writer.add(key, value)
        writer.add_tensor("a", np.zeros((10, 10), np.float32))
        writer.add_tensor("b", np.zeros((2, 20), np.float32))
        writer.add_tensor("c", np.zeros((4, 10), np.float16))
    return path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The contexts for which a plan was asked."""
    contexts: list[int] = []

    def plan(path: Path, context: int) -> MemoryPlan:
        contexts.append(context)
        return MemoryPlan(1_000_000, 2_000_000, 3_000_000)

    monkeypatch.setattr(edgerun.api, "memory_plan", plan)
    return contexts


def test_for_a_person(cli: Cli, model: Path, asked: list[int]) -> None:
    result = cli("show", str(model))
    assert (result.code, result.err) == (0, "")
    assert result.out == TEXT.format(path=model, size=f"{model.stat().st_size / 1000:.1f} kB", long="x" * 97)
    assert asked == [4096]


def test_for_a_program(cli: Cli, model: Path, asked: list[int]) -> None:
    out = cli("show", str(model), "-c", "100", "-o", "json").out
    assert out.isascii()
    assert "\x1b" not in out
    facts = json.loads(out)
    assert facts["memory"] == {"context": 100, "weights": 1_000_000, "kv": 2_000_000, "scratch": 3_000_000, "total": 6_000_000}
    assert facts["tensors"] == [{"type": "F32", "tensors": 2, "bytes": 560}, {"type": "F16", "tensors": 1, "bytes": 80}]
    assert facts["parameters"] == 180
    assert facts["metadata"]["general.name"] == "two\nlines \x1b[31mred"
    assert facts["metadata"]["llama.scale"] == "nan"
    assert facts["metadata"]["tokenizer.ggml.tokens"] == "[str; 100]"
    assert facts["template"].startswith("{% for m")


def test_a_model_that_edgerun_cannot_run(cli: Cli, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, context: int) -> MemoryPlan:
        raise Unsupported("architecture 'x' is not known")

    monkeypatch.setattr(edgerun.api, "memory_plan", refuse)
    result = cli("show", str(model))
    assert result.code == 0
    assert result.out.endswith("\nMemory\n  not known: architecture 'x' is not known\n")
    assert json.loads(cli("show", str(model), "-o", "json").out)["memory"] == {"error": "architecture 'x' is not known"}


@pytest.mark.parametrize("value", ["0", "-1", "99999999999"])
def test_contexts_that_make_no_sense(cli: Cli, model: Path, value: str) -> None:
    assert cli("show", str(model), "-c", value).code == 2


def test_what_is_no_model(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("hello")
    for path in (tmp_path, tmp_path / "text.gguf", tmp_path / "none.gguf"):
        result = cli("show", str(path))
        assert (result.code, result.out) == (3, "")
        assert len(result.err.splitlines()) == 1


@pytest.mark.model
def test_the_default_model(cli: Cli, smollm2: Path) -> None:
    facts = json.loads(cli("show", str(smollm2), "-c", "2048", "-o", "json").out)
    assert (facts["architecture"], facts["parameters"], facts["context"], facts["size"]) == ("llama", 134515008, 8192, 98362432)
    assert facts["tensors"][0] == {"type": "Q4_1", "tensors": 210, "bytes": 66355200}
    assert facts["memory"]["kv"] == 2048 * 2 * 30 * 3 * 64 * 2


def test_an_adapter(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    values = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 16.0}
    with GGUFWriter(path) as writer:
        for key, value in values.items():
            writer.add(key, value)
        for name, rank in (("x", 8), ("y", 4)):
            writer.add_tensor(f"{name}.lora_a", np.ones((rank, 6), np.float32))
            writer.add_tensor(f"{name}.lora_b", np.ones((5, rank), np.float32))
    result = cli("show", str(path))
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[0] == f"adapter       {path}"
    assert "\nadapts        2 tensors of a model (LoRA of rank 4, 8, alpha 16); use it with --lora\n" in result.out
    assert "Memory" not in result.out
    facts = json.loads(cli("show", str(path), "-o", "json").out)
    assert facts["adapter"] == {"type": "lora", "alpha": 16.0, "ranks": [4, 8], "tensors": 2}
    assert "memory" not in facts
    with GGUFWriter(path) as writer:
        for key, value in (values | {"adapter.type": "\x1b[2J"}).items():
            writer.add(key, value)
    assert "adapts        not known: " in cli("show", str(path)).out
    run = cli("run", "-m", str(path), "Hello")
    assert (run.code, run.out) == (3, "")
    assert run.err == f"edgerun: {path}: is an adapter, not a model: name the model it was made for, and this file with --lora\n"
