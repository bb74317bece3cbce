"""`edgerun perplexity` and `edgerun compare` on tiny models."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
MODELS = Path(__file__).parents[1] / "golden" / "oracle"
QWEN, LLAMA = (str(MODELS / name / "model.gguf") for name in ("qwen2", "llama"))
TEXT = "The quick brown fox jumps over the lazy dog. " * 20


@pytest.fixture
def text(tmp_path: Path) -> str:
    (tmp_path / "text.txt").write_text(TEXT)
    return str(tmp_path / "text.txt")


def test_perplexity(cli: Cli, text: str) -> None:
    result = cli("perplexity", "-m", QWEN, "-f", text, "-c", "64", "--chunks", "2", "-t", "1")
    assert (result.code, result.err) == (0, "")
    facts = json.loads(cli("perplexity", "-m", QWEN, "-f", text, "-c", "64", "--chunks", "2", "-t", "1", "-o", "json").out)
    assert (facts["windows"], facts["window"], facts["perplexity"]["tokens"]) == (2, 64, 62)
    found = facts["perplexity"]
    assert result.out == f"perplexity {found['value']:.4f} ± {found['error']:.4f} over 62 tokens in 2 windows\n"
    assert 2 < found["value"] < 1e6


def test_perplexity_with_a_stride_from_standard_input(cli: Cli) -> None:
    result = cli("perplexity", "-m", QWEN, "-f", "-", "-c", "64", "--ppl-stride", "16", "--chunks", "3", "-t", "1", stdin=TEXT.encode())
    assert "over 48 tokens in 3 windows" in result.out


def test_a_model_has_lost_nothing_against_itself(cli: Cli, text: str) -> None:
    result = cli("compare", QWEN, QWEN, "-f", text, "-c", "64", "--chunks", "2", "-t", "1")
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[:3] == [
        "positions:      62 in 2 windows",
        "KL divergence:  0.00000 ± 0.00000 nats; median 0.00000, 99 % below 0.0000, most 0.000",
        "same top token: 100.00 ± 0.00 %",
    ]
    assert lines[4:] == ["ratio:          1.00000 ± 0.00000", "", "   nats   share of the positions", f" < 1e-06  {'█' * 50}  100.0 %"]


def test_compare_as_json_and_picture(cli: Cli, text: str, tmp_path: Path) -> None:
    facts = json.loads(cli("compare", QWEN, QWEN, "-f", text, "-c", "64", "-t", "1", "-o", "json").out)["divergence"]
    assert facts["mean"] == 0
    assert facts["perplexity"] == facts["reference_perplexity"]
    assert not math.isnan(facts["perplexity"]["error"])
    pytest.importorskip("matplotlib")
    assert cli("compare", QWEN, QWEN, "-f", text, "-c", "64", "-t", "1", "--plot", str(tmp_path / "kl.png")).code == 0
    assert (tmp_path / "kl.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("perplexity", "-m", QWEN, "-f", "/no/such"), "text file '/no/such' cannot be read"),
        (("perplexity", "-m", QWEN, "-f", "/dev/null"), "the text is empty"),
        (("perplexity", "-m", QWEN, "-f", "TEXT", "-c", "4096"), "windows of 4096 need 8192; give a longer text"),
        (("perplexity", "-m", QWEN, "-f", "TEXT", "-c", "16", "--ppl-stride", "16"), "make no sense"),
        (("compare", QWEN, LLAMA, "-f", "TEXT", "-c", "64"), "different vocabularies"),
        (("compare", QWEN, QWEN, "-f", "TEXT", "--plot", "x.txt"), "the name of a picture ends in"),
    ],
)
def test_what_makes_no_sense_is_refused(cli: Cli, text: str, arguments: tuple[str, ...], message: str) -> None:
    result = cli(*(text if a == "TEXT" else a for a in arguments), "-t", "1")
    assert (result.code, result.out) == (2, "")
    assert message in result.err
