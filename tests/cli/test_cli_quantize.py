"""`edgerun quantize` as it is typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgerun.gguf import open_gguf

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
    assert "more (--dry-run lists them) become Q5_0: their rows of 32 do not fill the blocks of Q4_K\n" in result.err
    facts = json.loads(cli("quantize", str(MODEL), "Q4_K_M", "--dry-run", "-o", "json", "-q").out)
    row = next(row for row in facts["tensors"] if row["name"] == "blk.0.attn_k.weight")
    assert (row["from"], row["to"], row["instead_of"]) == ("F32", "Q5_0", "Q4_K")
    assert not list(tmp_path.iterdir())


def test_options_reach_the_plan(cli: Cli) -> None:
    options = ("--tensor-type", "ffn_up=q5_1", "--output-type", "f16", "--token-embedding-type", "bf16", "--pure", "--dry-run", "-o", "json", "-q")
    types = {row["name"]: row["to"] for row in json.loads(cli("quantize", str(MODEL), "Q4_0", *options).out)["tensors"]}
    assert (types["blk.1.ffn_up.weight"], types["blk.1.ffn_down.weight"], types["output.weight"], types["token_embd.weight"]) == ("Q5_1", "Q4_0", "F16", "BF16")


def test_calibration_reads_a_text(cli: Cli, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The quick brown fox jumps over the lazy dog, and what it left is text. " * 200)
    out = tmp_path / "x.gguf"
    typed = ("quantize", str(MODEL), str(out), "Q4_0", "--calibrate", "gptq", "-f", str(text), "--chunks", "2", "-t", "1")
    assert cli(*typed, "--dry-run").code == 0
    assert not out.exists()
    result = cli(*typed, "-q")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"wrote {out}: ")
    plain = tmp_path / "plain.gguf"
    assert cli("quantize", str(MODEL), str(plain), "Q4_0", "-t", "1", "-q").code == 0
    ours, theirs = out.read_bytes(), plain.read_bytes()
    assert len(ours) == len(theirs)
    assert ours != theirs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--calibrate", "gptq"), "--calibrate needs a text"),
        (("-f", "t.txt"), "-f is the text to measure with"),
        (("--calibrate", "gptq", "-f", "t.txt", "--imatrix", "i.gguf"), "give one of them"),
        (("--calibrate", "gptq", "-f", "/no/such"), "cannot be read"),
        (("--calibrate", "awq", "-f", "t.txt"), "awq"),
        (("--calibrate", "gptq", "-f", __file__, "--chunks", "-2"), "--chunks"),
    ],
)
def test_calibration_that_makes_no_sense_is_refused(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    result = cli("quantize", str(MODEL), str(tmp_path / "x.gguf"), "Q4_0", *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert not list(tmp_path.iterdir())


def test_a_text_too_short_to_calibrate_is_refused(cli: Cli, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("Too short.")
    result = cli("quantize", str(MODEL), str(tmp_path / "x.gguf"), "Q4_0", "--calibrate", "gptq", "-f", str(text))
    assert result.code == 2
    assert "of which little can be learned" in result.err
    assert list(tmp_path.iterdir()) == [text]


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


def test_types_by_measurement(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("The quick brown fox jumps over the lazy dog. " * 60)
    common = ("quantize", MODEL, str(tmp_path / "x.gguf"), "-f", str(tmp_path / "text.txt"), "-t", "1")
    result = cli(*map(str, common), "--bpw", "6", "--tensor-type", "attn_q=Q8_0")
    assert (result.code, result.err) == (0, "")
    out = result.out.splitlines()
    assert out[0].startswith(f"wrote {tmp_path / 'x.gguf'}: ")
    assert 5.5 < float(out[0].split(", ")[1].split()[0]) <= 6
    assert out[1].split() == ["matrices", "became", "nats", "expected"]
    assert next(line.split()[:3] for line in out if line.startswith("attn_q")) == ["attn_q", "2", "Q8_0"]
    lost, expected = (next(line.split()[i] for line in out if line.startswith(label)) for label, i in (("KL divergence:", 2), ("expected:", 1)))
    assert 0.3 < float(lost) / float(expected) < 3
    assert "held-out windows" in result.out
    with open_gguf(tmp_path / "x.gguf") as file:
        assert file.tensors["blk.0.attn_q.weight"].type_name == "Q8_0"
    result = cli(*map(str, common), "--kl", "0.01", "--force")
    assert float(next(line.split()[2] for line in result.out.splitlines() if line.startswith("KL divergence:"))) <= 0.0125
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".gguf"] == ["x.gguf"]


def test_the_plan_by_measurement_says_why(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("The quick brown fox jumps over the lazy dog. " * 60)
    result = cli("quantize", str(MODEL), "-f", str(tmp_path / "text.txt"), "-t", "1", "--bpw", "6", "--dry-run")
    out = result.out.splitlines()
    assert out[0].split() == ["tensor", "from", "to", "size", "nats", "smaller", "larger"]
    row = next(line.split() for line in out if line.startswith("blk.0.ffn_up.weight"))
    smaller, larger = (float(row[row.index(cell) + 1]) for cell in row if cell.endswith(":"))
    assert smaller > float(row[5]) > larger
    assert out[-1].endswith("nats expected")
    facts = json.loads(cli("quantize", str(MODEL), "-f", str(tmp_path / "text.txt"), "-t", "1", "--bpw", "6", "--dry-run", "-o", "json").out)
    found = next(tensor for tensor in facts["tensors"] if tensor["name"] == "blk.0.ffn_up.weight")
    assert (found["to"], f"{found['nats']:.6f}") == (row[2], row[5])
    assert f"{facts['nats']:.5f} nats expected" in out[-1]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_report_at_the_end(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("The quick brown fox jumps over the lazy dog. " * 60)
    result = cli("quantize", str(MODEL), str(tmp_path / "x.gguf"), "Q4_0", "--report", "-f", str(tmp_path / "text.txt"), "-t", "1", "-q")
    assert (result.code, result.err) == (0, "")
    wrote, positions, lost, *_, ratio = result.out.splitlines()
    assert wrote.startswith("wrote ")
    assert positions.startswith("positions:")
    assert 0 < float(lost.split()[2]) < 1
    assert ratio.startswith("ratio:")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bpw", "4", "--kl", "0.1"], "give one of them"),
        (["--bpw", "0"], "more than nothing"),
        (["--fit", "much"], "--fit 'much' is not a size"),
        (["--bpw", "4", "--pure"], "--pure is one type"),
        (["out.gguf", "Q4_0", "--bpw", "4"], "no type"),
        (["--bpw", "0.3"], "give it more"),
        (["q4-k-m", "--bpw", "4"], "a budget chooses types"),
        (["--bpw", "6", "--set", "nonsense"], "is not key=value"),
        ([str(MODEL), "--bpw", "6", "--force"], "the model itself"),
        (["Q4_0", "--report", "--dry-run"], "leave out one of them"),
        (["Q4_0", "-f", "text.txt"], "-f is the text to measure with"),
        (["--bpw", "6", "--calibrate", "gptq", "-f", "text.txt"], "a budget is still to choose them"),
    ],
)
def test_budgets_that_make_no_sense(cli: Cli, arguments: list[str], message: str) -> None:
    result = cli("quantize", str(MODEL), *arguments)
    assert result.code == 2
    assert message in result.err


def test_a_folder_that_is_not_there_is_told_before_anything_is_measured(cli: Cli, tmp_path: Path) -> None:
    result = cli("quantize", str(MODEL), str(tmp_path / "no" / "x.gguf"), "--bpw", "6", "-f", "/no/such/text")
    assert result.code == 4
    assert "no such folder" in result.err
