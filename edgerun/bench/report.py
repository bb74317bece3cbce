"""Results written down as they come: llama-bench's table, CSV, JSON or JSON lines. Knows no measuring.

The table streams; what llama-bench has no column for follows in a second one. Nothing that is not known makes a column.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from typing import Any, Literal, TextIO

from edgerun.bench.grammar import Setting
from edgerun.bench.result import Result, deviation

Format = Literal["md", "csv", "json", "jsonl"]
Column = tuple[str, int, Callable[[Result], str]]   # its head, its width (to the left where negative), its cell


class Report:
    """Writes results to a stream: call `add` for each as it is there, and `end`. settings: all that will be measured."""

    def __init__(self, kind: Format, out: TextIO, settings: Sequence[Setting]) -> None:
        self.results: list[Result] = []
        self._kind, self._out, self._settings = kind, out, settings

    def add(self, result: Result) -> None:
        """The next result."""
        first = not self.results
        self.results.append(result)
        if self._kind == "md":
            self._table([result], _columns(self._settings), head=first)
        elif self._kind == "csv":
            writer = csv.DictWriter(self._out, list(result.row()), lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
            if first:
                writer.writeheader()
            writer.writerow(result.row())
        elif self._kind == "jsonl":
            self._out.write(json.dumps(_full(result)) + "\n")
        self._out.flush()

    def end(self) -> None:
        """What follows the last result."""
        if self._kind == "json":
            self._out.write(json.dumps([_full(result) for result in self.results], indent=2) + "\n")
        elif self._kind == "md" and self.results:
            self._out.write("\n")
            self._table(self.results, [column for column in _MORE if any(column[2](result) for result in self.results)], head=True)
            self._out.write("\n" + "".join(f"{line}\n" for line in _notes(self.results)))
        self._out.flush()

    def _table(self, results: Sequence[Result], columns: Sequence[Column], head: bool) -> None:
        cells = [[cell(result) for _, _, cell in columns] for result in results]
        widths = [max(abs(width), len(name), *(len(row[i]) for row in cells)) for i, (name, width, _) in enumerate(columns)]
        sides = [str.ljust if width < 0 else str.rjust for _, width, _ in columns]
        if head:
            cells.insert(0, [name for name, _, _ in columns])
            cells.insert(1, ["-" * width if side is str.ljust else "-" * (width - 1) + ":" for width, side in zip(widths, sides, strict=True)])
        for row in cells:
            self._out.write("| " + " | ".join(side(cell, width) for cell, width, side in zip(row, widths, sides, strict=True)) + " |\n")


def _full(result: Result) -> dict[str, Any]:
    return result.row() | result.samples()


# ---- the table of llama-bench --------------------------------------------------------------------------------------------


def _columns(settings: Sequence[Setting]) -> list[Column]:
    """Its columns; those of a setting only where it is not the usual one."""
    plain = Setting("")
    columns: list[Column] = [
        ("model", -24, lambda r: r.loaded.facts.kind),
        ("size", 10, lambda r: _size(r.loaded.facts.size)),
        ("params", 10, lambda r: _parameters(r.loaded.facts.parameters)),
        ("backend", -14, lambda r: " ".join(dict.fromkeys((r.loaded.backend, r.loaded.ceilings.isa)))),
        ("threads", 7, lambda r: str(r.loaded.threads)),
    ]
    if len({s.model for s in settings}) > 1:
        columns.insert(1, ("file", -16, lambda r: r.loaded.setting.model))
    if {s.batch for s in settings} != {plain.batch}:
        columns.append(("n_batch", 7, lambda r: str(r.loaded.setting.batch)))
    if {s.ubatch for s in settings} != {plain.ubatch}:
        columns.append(("n_ubatch", 8, lambda r: str(r.loaded.setting.ubatch)))
    if {s.kv for s in settings} != {plain.kv}:
        columns += [("type_k", 6, lambda r: r.loaded.setting.kinds[0]), ("type_v", 6, lambda r: r.loaded.setting.kinds[1])]
    return [*columns, ("test", 13, lambda r: r.case.name), ("t/s", 16, lambda r: f"{r.rate:.2f} ± {deviation(r.rates):.2f}")]


def _size(nbytes: int) -> str:
    return f"{nbytes / 2**30:.2f} GiB" if nbytes >= 2**30 else f"{nbytes / 2**20:.2f} MiB"


def _parameters(count: int) -> str:
    return f"{count / 1e9:.2f} B" if count >= 1e9 else f"{count / 1e6:.2f} M"


# ---- what it has no column for -------------------------------------------------------------------------------------------


def _times(percents: Sequence[int], value: Callable[[float], float | None]) -> str:
    """Milliseconds of each percentile."""
    found = [value(percent) for percent in percents]
    return "/".join(f"{seconds * 1e3:.3g}" for seconds in found if seconds is not None)


def _each(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _share(value: float, most: float) -> str:
    """Nothing where the most is not known."""
    return f"{value / most:.0%}" if most else ""


_MORE: list[Column] = [
    ("test", 13, lambda r: r.case.name),
    ("threads", 7, lambda r: str(r.loaded.threads)),
    ("TTFT p50/p95 ms", 15, lambda r: _times((50, 95), r.first_token)),
    ("gap p50/p95/p99 ms", 18, lambda r: _times((50, 95, 99), r.gap)),
    ("MB/token", 8, lambda r: f"{r.bytes_per_token / 1e6:.2f}"),
    ("GB/s", 6, lambda r: f"{r.bandwidth / 1e9:.1f}"),
    ("of read", 7, lambda r: _share(r.bandwidth, r.loaded.ceilings.read)),
    ("GMAC/s", 7, lambda r: f"{r.macs / 1e9:.1f}"),
    ("of peak", 7, lambda r: _share(r.macs, r.loaded.ceilings.macs)),
    ("peak MB", 7, lambda r: f"{r.peak_memory / 1e6:.0f}"),
    ("J/token", 7, lambda r: _each(r.joules_per_token, "{:.3f}")),
    ("per M tokens", 12, lambda r: _each(r.cost_per_million, "{:.4f}")),
]


def _notes(results: Sequence[Result]) -> list[str]:
    """What holds for all tests of a model as it was loaded."""
    lines = []
    for loaded in {id(result.loaded): result.loaded for result in results}.values():
        threads = f"{loaded.threads} thread{'s' * (loaded.threads > 1)}"
        compiled = f" and compiled in {loaded.compile_seconds:.2f} s" if loaded.compile_seconds else ""
        if loaded.backend == "GPU":
            lines.append(f"{loaded.facts.kind} on {loaded.ceilings.isa}: loaded in {loaded.load_seconds:.2f} s; it copies {loaded.ceilings.read / 1e9:.1f} GB/s")
            continue
        lines.append(
            f"{loaded.facts.kind}, {threads}: loaded in {loaded.load_seconds:.2f} s{compiled}; the machine reads {loaded.ceilings.read / 1e9:.1f} GB/s "
            f"and multiplies {loaded.ceilings.macs / 1e9:.0f} GMAC/s ({loaded.ceilings.isa})"
        )
    return list(dict.fromkeys(lines))
