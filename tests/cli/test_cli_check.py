"""`edgerun check` and `edgerun edit`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Cli = Callable[..., Any]
MODEL = Path(__file__).parents[1] / "golden" / "oracle" / "llama" / "model.gguf"


def test_check_says_a_line_each(cli: Cli) -> None:
    result = cli("check", str(MODEL))
    assert (result.code, result.err) == (0, "")
    assert [line.split()[:2] for line in result.out.splitlines()] == [
        ["ok", "structure:"], ["ok", "hash:"], ["ok", "weights:"], ["ok", "architecture:"], ["ok", "tokenizer:"], ["warning", "template:"],
    ]  # fmt: skip


def test_damage_ends_with_3(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(MODEL.read_bytes()[:-100])
    result = cli("check", str(tmp_path / "m.gguf"), "-o", "json")
    assert result.code == 3
    assert [f["level"] for f in json.loads(result.out)["findings"]] == ["damage"]


def test_edit_writes_a_copy(cli: Cli, tmp_path: Path) -> None:
    source = tmp_path / "m.gguf"
    source.write_bytes(MODEL.read_bytes())
    result = cli("edit", str(source), "--set", "general.name=Tiny")
    assert (result.code, result.out) == (0, f"wrote {tmp_path / 'm-edited.gguf'}\n")
    assert json.loads(cli("show", str(tmp_path / "m-edited.gguf"), "-o", "json").out)["metadata"]["general.name"] == "Tiny"
    again = cli("edit", str(source), "--set", "general.name=Other")
    assert (again.code, again.out) == (2, "")
    assert "is there already" in again.err
    assert cli("edit", str(source), "--set", "general.name=Other", "--force").code == 0
    assert source.read_bytes() == MODEL.read_bytes()


def test_edit_needs_something_to_do(cli: Cli) -> None:
    assert "nothing is to be changed" in cli("edit", str(MODEL)).err
    assert cli("edit", str(MODEL), "--set", "llama.block_count=x").code == 2
