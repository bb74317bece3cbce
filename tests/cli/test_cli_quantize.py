"""`edgerun quantize` as it is typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
MODEL = Path(__file__).parents[1] / "golden" / "oracle" / "llama" / "model.gguf"


def test_the_new_file_is_named_by_its_type(cli: Cli, tmp_path: Path) -> None:
    source = tmp_path / "tiny-F32.gguf"
    source.write_bytes(MODEL.read_bytes())
    result = cli("quantize", str(source), "q8_0", "-t", "1")
    out = tmp_path / "tiny-Q8_0.gguf"
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"wrote {out}: ")
    assert result.out.endswith("bits per weight\n")
    again = cli("quantize", str(source), "Q8_0", "-t", "1")
    assert (again.code, again.out) == (2, "")
    assert "is there already" in again.err
    assert cli("quantize", str(source), str(tmp_path / "x.gguf"), "Q4_0", "-t", "1", "--set", "general.name=X").code == 0
    assert json.loads(cli("show", str(tmp_path / "x.gguf"), "-o", "json").out)["metadata"]["general.name"] == "X"


def test_a_dry_run_shows_the_plan_and_writes_nothing(cli: Cli, tmp_path: Path) -> None:
    result = cli("quantize", str(MODEL), str(tmp_path / "x.gguf"), "Q4_K_M", "--dry-run")
    lines = result.out.splitlines()
    assert lines[0].split() == ["tensor", "shape", "from", "to", "size"]
    assert "bits per weight" in lines[-1]
    assert "edgerun: warning: blk.0.attn_k.weight becomes Q5_0: its rows of 32 do not fill the blocks of Q4_K" in result.err
    facts = json.loads(cli("quantize", str(MODEL), "Q4_K_M", "--dry-run", "-o", "json", "-q").out)
    row = next(row for row in facts["tensors"] if row["name"] == "blk.0.attn_k.weight")
    assert (row["from"], row["to"], row["instead_of"]) == ("F32", "Q5_0", "Q4_K")
    assert not list(tmp_path.iterdir())


def test_options_reach_the_plan(cli: Cli) -> None:
    options = ("--tensor-type", "ffn_up=q5_1", "--output-type", "f16", "--token-embedding-type", "bf16", "--pure", "--dry-run", "-o", "json", "-q")
    types = {row["name"]: row["to"] for row in json.loads(cli("quantize", str(MODEL), "Q4_0", *options).out)["tensors"]}
    assert (types["blk.1.ffn_up.weight"], types["blk.1.ffn_down.weight"], types["output.weight"], types["token_embd.weight"]) == ("Q5_1", "Q4_0", "F16", "BF16")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((str(MODEL),), "a model, perhaps a name for the new file, and a type"),
        ((str(MODEL), "Q9_Z"), "is not a type of model files"),
        ((str(MODEL), "Q4_K_M", "--no-fallback"), "do not fill the blocks"),
        ((str(MODEL), "Q4_0", "--tensor-type", "x"), "is not REGEX=TYPE"),
        ((str(MODEL), "Q4_0", "--tensor-type", "(=Q8_0"), "is not REGEX=TYPE"),
        ((str(MODEL), "Q4_0", "--tensor-type", "x=Q99"), "is not a type that edgerun writes"),
        ((str(MODEL), "Q4_0", "--split-size", "big"), "is not a size"),
        ((str(MODEL), "Q4_0", "--imatrix", "/no/such"), "cannot be read"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    result = cli("quantize", *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_what_an_interrupt_leaves_is_said_and_continued(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    arguments = ("quantize", str(MODEL), str(tmp_path / "x.gguf"), "Q8_0", "-t", "1")
    with monkeypatch.context() as patch:
        patch.setattr("quant.quantize._Worker._encoded", stop)
        result = cli(*arguments)
    assert (result.code, result.out) == (130, "")
    assert result.err == f"edgerun: stopped; what is done is in {tmp_path / 'x.gguf.part'}: the same command continues it, or remove it\n"
    assert cli(*arguments).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["x.gguf"]
