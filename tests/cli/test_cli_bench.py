"""`edgerun bench` on a tiny model, with a clock that ticks and a machine whose limits are known."""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import edgerun
from edgerun.backends.cpu.ceilings import Ceilings
from edgerun.bench import bench as module
from edgerun.bench.runner import Runner

Cli = Callable[..., Any]
TINY = Path(__file__).parents[1] / "golden" / "oracle" / "llama" / "model.gguf"



@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Models are loaded into the reference backend, every look at the clock takes 10 ms; gives the options of each load."""
    real, loads, ticks = edgerun.load, list[dict[str, Any]](), count()

    def load(ref: str, **options: Any) -> Any:
        loads.append({"ref": ref} | {name: value for name, value in options.items() if name != "progress"})
        return real(TINY, **options | {"backend": "reference"})

    monkeypatch.setattr(edgerun, "load", load, raising=False)
    monkeypatch.setattr(module, "Runner", functools.partial(Runner, clock=lambda: next(ticks) / 100))
    monkeypatch.setattr(module, "ceilings", lambda threads, fresh: Ceilings(threads, "avx2", 10e9, 100e9))
    monkeypatch.setattr("edgerun.machine.peak_memory", lambda: 200_000_000)
    return loads


def small(*more: str) -> tuple[str, ...]:
    return ("bench", "-m", "tiny", "-p", "64", "-n", "4", "-r", "2", "-t", "1", *more)


def test_the_tables(cli: Cli) -> None:
    result = cli(*small())
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert [line.split(" | ")[-2:] for line in lines[2:4]] == [["         pp64", "  6400.00 ± 0.00 |"], ["          tg4", "   100.00 ± 0.00 |"]]
    assert lines[0] == "| model                    |       size |     params | backend        | threads |          test |              t/s |"
    assert [cell.strip() for cell in lines[7].split("|")[1:5]] == ["pp64", "1", "10/10", ""]
    assert [cell.strip() for cell in lines[8].split("|")[1:5]] == ["tg4", "1", "", "10/10/10"]
    assert lines[-1].endswith("the machine reads 10.0 GB/s and multiplies 100 GMAC/s (avx2)")


def test_defaults(cli: Cli, tiny: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[Any]()
    monkeypatch.setattr(module.Bench, "run", lambda self, *grid: asked.extend(grid) or iter(()))
    assert cli("bench").code == 0
    (setting,), cases, repetitions, warmup = asked
    assert (setting.model, setting.threads, setting.kv, setting.batch, setting.ubatch) == ("smollm2:135m", None, "f16", 2048, 512)
    assert ([case.name for case in cases], repetitions, warmup) == (["pp512", "tg128"], 5, True)


def test_a_device(cli: Cli, tiny: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli(*small()).code == cli(*small("--device", "cpu")).code == 0
    monkeypatch.setenv("EDGERUN_DEVICE", "cpu")
    assert cli(*small("--roofline")).code == cli(*small()).code == 0
    assert [load["device"] for load in tiny] == ["auto", "cpu", "cpu", "cpu"]
    result = cli(*small("--device", "gpu", "--roofline"))
    assert (result.code, result.err) == (2, "edgerun: --roofline and --plot know the limits of the CPU only; leave them out, or --device\n")


def test_all_combinations_are_loaded_once(cli: Cli, tiny: list[dict[str, Any]]) -> None:
    result = cli("bench", "-m", "one,two", "-p", "8", "-n", "2", "-pg", "4,2", "-d", "0,16", "-r", "1", "-t", "1", "-ctk", "f16,f32", "-o", "jsonl")
    assert result.code == 0
    rows = [json.loads(line) for line in result.out.splitlines()]
    assert [(load["ref"], load["kv"]) for load in tiny] == [("one", "f16"), ("one", "f32"), ("two", "f16"), ("two", "f32")]
    assert {load["context"] for load in tiny} == {24}
    assert [row["test"] for row in rows[:6]] == ["pp8", "tg2", "pp4+tg2", "pp8 @ d16", "tg2 @ d16", "pp4+tg2 @ d16"]
    assert len(rows) == 24


def test_for_programs(cli: Cli) -> None:
    first, second = json.loads(cli(*small("-o", "json")).out)
    assert (first["test"], first["n_prompt"], first["samples_ts"], first["peak_memory"]) == ("pp64", 64, [pytest.approx(6400)] * 2, 200_000_000)
    assert (second["gap_p99"], second["read_bandwidth_measured"]) == (pytest.approx(0.01), 10e9)
    rows = list(csv.DictReader(io.StringIO(cli(*small("-o", "csv")).out), quoting=csv.QUOTE_NONNUMERIC))
    assert [row["test"] for row in rows] == ["pp64", "tg4"]
    assert [float(row["avg_ts"]) for row in rows] == pytest.approx([6400, 100])
    assert set(rows[0]) == set(first) - {"samples_ns", "samples_ts"}


def test_the_price_of_a_million_tokens(cli: Cli) -> None:
    (row,) = json.loads(cli("bench", "-m", "tiny", "-p", "0", "-n", "4", "-r", "1", "--price-per-hour", "0.36", "-o", "json").out)
    assert row["cost_per_million_tokens"] == pytest.approx(1.0)


def test_the_roofline_goes_where_it_is_not_in_the_way(cli: Cli) -> None:
    result = cli(*small("--roofline"))
    assert "\n  A  pp64: " in result.out
    assert "\n  B  tg4: " in result.out
    result = cli(*small("--roofline", "-o", "json"))
    assert len(json.loads(result.out)) == 2
    assert "\n  A  pp64: " in result.err


@pytest.mark.parametrize(("arguments", "said"), [
    (["-p", "x"], "-p 'x' is no number, nor a range as 1-4, 100-300+100 or 64-512*2"),
    (["-n", "-1"], "-n '-1' is no number, nor a range as 1-4, 100-300+100 or 64-512*2"),
    (["-p", "0", "-n", "0"], "there is nothing to measure; give -p, -n or -pg"),
    (["-pg", "512"], "-pg '512' is not a prompt and a number of tokens behind it, as 512,128"),
    (["-t", "0"], "-t takes 1 to 67108864, not 0"),
    (["-d", "4-1"], "-d '4-1' is a range that never gets to its end"),
    (["-b", "0"], "-b takes 1 to 67108864, not 0"),
    (["-ub", "1024"], "-b 2048 -ub 1024 makes steps of more than 512 rows; use -ub 512 or less"),
    (["--plot", ""], "--plot needs the name of a file, as roofline.png"),
    (["--plot", "plot"], "--plot 'plot': the name of a picture ends in .png, .svg, .pdf"),
    (["-r", "0"], "Invalid value for '-r' / '--repetitions': 0 is less than 1 (see edgerun bench --help)"),
    (["-o", "sql"], "Invalid value for '-o' / '--output': 'sql' is none of md, csv, json, jsonl (see edgerun bench --help)"),
    (["--price-per-hour", "-1"], "Invalid value for '--price-per-hour': -1 is less than 0.0 (see edgerun bench --help)"),
])  # fmt: skip
def test_wrong_usage_is_told_before_anything_is_loaded(cli: Cli, tiny: list[dict[str, Any]], arguments: list[str], said: str) -> None:
    result = cli("bench", *arguments)
    assert (result.code, result.out, result.err) == (2, "", f"edgerun: {said}\n")
    assert tiny == []


def test_a_type_of_keys_that_there_is_not(cli: Cli, tiny: list[dict[str, Any]]) -> None:
    result = cli("bench", "-ctk", "q3_x")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("edgerun: kv 'q3_x' is not known; use one of f16")
    assert tiny == []


def test_a_model_that_cannot_be_loaded(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load(ref: str, **options: Any) -> Any:
        from edgerun.errors import GGUFError

        raise GGUFError("not a GGUF file")

    monkeypatch.setattr(edgerun, "load", load, raising=False)
    result = cli(*small())
    assert (result.code, result.out, result.err) == (3, "", "edgerun: not a GGUF file\n")


def test_a_picture_without_matplotlib(cli: Cli, tiny: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = cli("bench", "--plot", str(tmp_path / "plot.png"))
    assert result.code == 2
    assert result.err == "edgerun: --plot needs matplotlib; install it with: pip install 'edgerun[plot]'\n"
    assert tiny == []


def test_energy_that_may_not_be_read_is_told_once(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgerun.bench.energy.Energy.__init__", lambda self: vars(self).update(warning="energy is not measured", _packages={}, _total=0))
    assert cli(*small()).err == "edgerun: energy is not measured\n"
    assert cli(*small("-q")).err == ""


def test_the_reader_goes_away(tmp_path: Path) -> None:
    """As with `| head -1`: 141, no message, and no more is measured than one test."""
    script = (
        f"import sys\nfrom edgerun.backends.cpu.ceilings import Ceilings\nfrom edgerun.bench import bench\nimport edgerun\nreal = edgerun.load\n"
        f"edgerun.load = lambda ref, **options: real({str(TINY)!r}, **options | dict(backend='reference'))\n"
        f"bench.ceilings = lambda threads, fresh: Ceilings(threads, 'avx2', 1e10, 1e11)\n"
        f"from edgerun.cli.main import main\nmain(sys.argv[1:])\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(edgerun.__file__).parents[1])}
    command = [sys.executable, "-c", script, "bench", "-m", "tiny", "-p", "1-40", "-n", "0", "-r", "1"]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout
    assert child.stderr
    assert child.stdout.readline().startswith(b"| model")
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait(timeout=60) == 141


def test_ctrl_c_leaves_what_is_there(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Runner.measure

    def measure(self: Runner, case: Any, *more: Any) -> Any:
        if case.gen:
            raise KeyboardInterrupt
        return real(self, case, *more)

    monkeypatch.setattr(Runner, "measure", measure)
    result = cli(*small())
    assert result.code == 130
    assert len(result.out.splitlines()) == 3
