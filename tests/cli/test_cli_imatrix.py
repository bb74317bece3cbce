"""`edgerun imatrix` as it is typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quant.importance import Importance

Cli = Callable[..., Any]
MODEL = str(Path(__file__).parents[1] / "golden" / "oracle" / "llama" / "model.gguf")
TEXT = "The quick brown fox jumps over the lazy dog. " * 20


@pytest.fixture
def text(tmp_path: Path) -> str:
    (tmp_path / "text.txt").write_text(TEXT)
    return str(tmp_path / "text.txt")


def test_a_matrix_is_measured_shown_and_used(cli: Cli, tmp_path: Path, text: str) -> None:
    out = tmp_path / "i.gguf"
    result = cli("imatrix", "-m", MODEL, "-f", text, "-o", str(out), "-c", "64", "--chunks", "2", "-t", "1", "--show")
    assert (result.code, result.err) == (0, "")
    *shown, last = result.out.splitlines()
    assert last == f"wrote {out}: 15 matrices over 128 tokens"
    assert shown[0].split("  ")[0] == "matrix"
    assert len(shown) == 1 + 15
    assert shown[1].startswith("blk.0.attn_q.weight")
    assert cli("imatrix", str(out)).out.splitlines() == shown
    assert len(Importance.read(out)) == 15
    assert cli("quantize", MODEL, str(tmp_path / "m.gguf"), "Q4_0", "--imatrix", str(out), "-t", "1").code == 0


def test_what_is_there_stays(cli: Cli, tmp_path: Path, text: str) -> None:
    out = tmp_path / "i.gguf"
    out.write_bytes(b"mine")
    arguments = ("imatrix", "-m", MODEL, "-f", text, "-o", str(out), "-c", "64", "-t", "1", "-q")
    result = cli(*arguments)
    assert (result.code, result.out) == (2, "")
    assert "is there already" in result.err
    assert out.read_bytes() == b"mine"
    assert cli(*arguments, "--force").code == 0
    assert len(Importance.read(out)) == 15


@pytest.mark.parametrize("arguments", [(), ("x.gguf", "-f", "y.txt")])
def test_a_text_or_a_matrix_is_needed(cli: Cli, arguments: tuple[str, ...]) -> None:
    result = cli("imatrix", *arguments)
    assert result.code == 2
    assert "edgerun imatrix -m model-f16.gguf -f text.txt" in result.err


def test_a_short_text_is_refused(cli: Cli, tmp_path: Path, text: str) -> None:
    result = cli("imatrix", "-m", MODEL, "-f", text, "-o", str(tmp_path / "i.gguf"), "-c", "4096", "-t", "1")
    assert result.code == 2
    assert list(tmp_path.iterdir()) == [Path(text)]
