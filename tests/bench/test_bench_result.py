"""What runs amount to, and how it is written down: exact text, and JSON and CSV that give back what was put in."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from bench_cases import WORK, answer, loaded, prompt

from edgerun.backends.cpu.ceilings import Ceilings
from edgerun.bench.grammar import Case, Setting
from edgerun.bench.report import Report
from edgerun.bench.result import deviation

TABLE = """\
| model                    |       size |     params | backend        | threads |          test |              t/s |
| ------------------------ | ---------: | ---------: | -------------- | ------: | ------------: | ---------------: |
| llama 135M Q4_1          |  92.10 MiB |   134.52 M | CPU avx2       |       2 |         pp512 | 1536.00 ± 724.08 |
| llama 135M Q4_1          |  92.10 MiB |   134.52 M | CPU avx2       |       2 |    tg10 @ d64 |     90.91 ± 0.00 |

|          test | threads | TTFT p50/p95 ms | gap p50/p95/p99 ms | MB/token |   GB/s | of read |  GMAC/s | of peak | peak MB |
| ------------: | ------: | --------------: | -----------------: | -------: | -----: | ------: | ------: | ------: | ------: |
|         pp512 |       2 |         250/500 |                    |     0.20 |    0.3 |      1% |   122.9 |     31% |     250 |
|    tg10 @ d64 |       2 |                 |           10/20/20 |   100.04 |    9.1 |     45% |     9.1 |      2% |     250 |

llama 135M Q4_1, 2 threads: loaded in 0.25 s; the machine reads 20.0 GB/s and multiplies 400 GMAC/s (avx2)
"""


def written(kind: str, *results: object, settings: list[Setting] | None = None) -> str:
    out = io.StringIO()
    report = Report(kind, out, settings or [Setting("smollm2:135m")])   # type: ignore[arg-type]
    for result in results:
        report.add(result)   # type: ignore[arg-type]
    report.end()
    return out.getvalue()


def test_the_tables() -> None:
    where = loaded()
    assert written("md", prompt(where), answer(where)) == TABLE


def test_a_gpu() -> None:
    """What it multiplies at most is not known, so nothing is said of it."""
    where = replace(loaded(), backend="GPU", ceilings=Ceilings(2, "Fast GPU (discrete, Vulkan)", 400e9, 0.0))
    lines = written("md", prompt(where)).splitlines()
    assert "| GPU Fast GPU (discrete, Vulkan) |" in lines[2]
    assert lines[6].endswith("|      0% |   122.9 |     250 |")
    assert lines[8] == "llama 135M Q4_1 on Fast GPU (discrete, Vulkan): loaded in 0.25 s; it copies 400.0 GB/s"
    (row,) = json.loads(written("json", prompt(where)))
    assert (row["backends"], row["isa"], row["read_bandwidth_measured"], row["macs_measured"]) == ("GPU", "Fast GPU (discrete, Vulkan)", 400e9, None)


def test_columns_that_say_something_new() -> None:
    where = loaded(1, kv="f32", batch=64, ubatch=32)
    other = Setting("a.gguf", 1, "f32", 64, 32)
    lines = written("md", prompt(where, joules=256.0, price=3.6), settings=[where.setting, other]).splitlines()
    assert lines[0].split()[1::2] == ["model", "file", "size", "params", "backend", "threads", "n_batch", "n_ubatch", "type_k", "type_v", "test", "t/s"]
    assert "J/token | per M tokens |" in lines[4]
    assert lines[6].endswith("|   0.500 |       0.6510 |")


def test_the_table_streams() -> None:
    out = io.StringIO()
    Report("md", out, [Setting("")]).add(prompt(loaded()))
    assert out.getvalue() == TABLE[: TABLE.index("| llama 135M Q4_1          |  92.10 MiB |   134.52 M | CPU avx2       |       2 |    tg10")]


def test_json_gives_back_what_was_put_in() -> None:
    where = loaded()
    results = prompt(where, joules=256.0), answer(where, price=3.6)
    first, second = json.loads(written("json", *results))
    assert first == json.loads(json.dumps(results[0].row() | results[0].samples()))
    assert (first["test"], first["n_prompt"], first["avg_ts"], first["samples_ns"]) == ("pp512", 512, 1536.0, [500_000_000, 250_000_000])
    assert (first["ttft_p50"], first["ttft_p95"], first["gap_p50"], first["joules_per_token"]) == (0.25, 0.5, None, 0.5)
    assert (second["n_depth"], second["ttft_p50"], second["gap_p50"], second["gap_p99"]) == (64, None, 0.01, 0.02)
    assert (second["cost_per_million_tokens"], second["joules_per_token"]) == (pytest.approx(11.0), None)
    assert [json.loads(line) for line in written("jsonl", *results).splitlines()] == [first, second]


def test_csv_gives_back_what_was_put_in() -> None:
    where = loaded()
    results = prompt(where), answer(where)
    rows = list(csv.DictReader(io.StringIO(written("csv", *results)), quoting=csv.QUOTE_NONNUMERIC))
    for row, result in zip(rows, results, strict=True):
        assert {name: value for name, value in row.items() if value != ""} == {name: value for name, value in result.row().items() if value is not None}


def test_nothing_was_measured() -> None:
    assert written("md") == written("csv") == written("jsonl") == ""
    assert json.loads(written("json")) == []


def test_what_a_test_moves_and_multiplies() -> None:
    assert WORK.macs(Case(512, 0)) == 512 * 90_000_000 + 10_000_000
    assert WORK.macs(Case(8, 4)) == 12 * 90_000_000 + 5 * 10_000_000
    assert WORK.token_bytes(0) == 100_000_000 + 500 + 500
    assert WORK.token_bytes(99) == 100_000_000 + 500 * 100 + 500 * 16   # the second layer looks back on 16 positions
    assert WORK.nbytes(Case(100, 0), 64) == 2 * 100_000_000 + 500 * (64 + 100) + 500 * (16 + 16)


def test_deviation_is_that_of_a_sample() -> None:
    assert deviation([1.0]) == 0.0
    assert deviation([1.0, 3.0]) == pytest.approx(2**0.5)
