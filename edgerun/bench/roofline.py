"""The roofline (doi.org/10.1145/1498765.1498785): how fast each test ran under what the machine can do, as text or as a picture.

Across: multiplications per byte read from memory; up: multiplications per second; both in powers of ten. Knows no measuring.
"""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgerun.backends.cpu.ceilings import Ceilings
from edgerun.bench.result import Result
from edgerun.picture import save

WIDTH, HEIGHT = 64, 16
_MARKS = string.ascii_uppercase + string.ascii_lowercase + string.digits


def roofline(results: Sequence[Result]) -> str:
    """A plot for each number of threads, with the points explained below; ends with a newline."""
    return "\n".join(_plot(group) for group in _by_threads(results))


def intensity(result: Result) -> float:
    """Multiplications per byte."""
    return result.macs / result.bandwidth


def roof(ceilings: Ceilings, x: float) -> float:
    """Most multiplications per second at so many per byte."""
    return min(ceilings.macs, ceilings.read * x)


def picture(results: Sequence[Result], path: Path) -> None:
    """Draw all results into a file. OutputError when it cannot be written."""
    save(lambda axes: _draw(results, axes), path)


def _draw(results: Sequence[Result], axes: Any) -> None:
    left, right, _, _ = _frame(results)
    for group in _by_threads(results):
        ceilings = group[0].loaded.ceilings
        corner = min(max(ceilings.macs / ceilings.read, left), right)
        label = f"{ceilings.threads} thread{'s' * (ceilings.threads > 1)}: {ceilings.read / 1e9:.1f} GB/s, {ceilings.macs / 1e9:.0f} GMAC/s"
        (line,) = axes.plot([left, corner, right], [roof(ceilings, x) / 1e9 for x in (left, corner, right)], label=label)
        for result in group:
            axes.plot(intensity(result), result.macs / 1e9, "o", color=line.get_color())
            axes.annotate(result.case.name, (intensity(result), result.macs / 1e9), textcoords="offset points", xytext=(6, -4), fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="multiplications per byte read", ylabel="GMAC/s", title=_title(results))
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)


def _by_threads(results: Sequence[Result]) -> list[list[Result]]:
    return [[r for r in results if r.loaded.threads == threads] for threads in sorted({r.loaded.threads for r in results})]


def _title(results: Sequence[Result]) -> str:
    return ", ".join(dict.fromkeys(f"{r.loaded.facts.kind} ({r.loaded.ceilings.isa})" for r in results))


def _frame(results: Sequence[Result]) -> tuple[float, float, float, float]:
    """Left, right, bottom and top: powers of ten around the points and the corner of each roof."""
    xs = [x for r in results for x in (intensity(r), r.loaded.ceilings.macs / r.loaded.ceilings.read)]
    ys = [y for r in results for y in (r.macs, r.loaded.ceilings.macs)]
    return _below(min(xs)), _above(max(xs)), _below(min(ys)), _above(max(ys))


def _below(value: float) -> float:
    return 10.0 ** math.floor(math.log10(value))


def _above(value: float) -> float:
    return 10.0 ** math.ceil(math.log10(value) + 0.05)


def _plot(results: Sequence[Result]) -> str:
    """One roof with its points."""
    ceilings = results[0].loaded.ceilings
    left, right, bottom, top = _frame(results)
    grid = [[" "] * WIDTH for _ in range(HEIGHT)]

    def place(value: float, low: float, high: float, cells: int) -> int:
        return min(cells - 1, max(0, round((cells - 1) * math.log10(value / low) / math.log10(high / low))))

    def put(x: float, y: float, mark: str) -> None:
        if y >= bottom:
            grid[HEIGHT - 1 - place(y, bottom, top, HEIGHT)][place(x, left, right, WIDTH)] = mark

    for column in range(WIDTH):
        x = left * (right / left) ** (column / (WIDTH - 1))
        put(x, roof(ceilings, x), "/" if ceilings.read * x < ceilings.macs else "-")
    for mark, result in zip(_MARKS, results, strict=False):
        put(intensity(result), result.macs, mark)
    threads = f"{ceilings.threads} thread{'s' * (ceilings.threads > 1)}"
    lines = [f"{_title(results)}, {threads}: / {ceilings.read / 1e9:.1f} GB/s, - {ceilings.macs / 1e9:.0f} GMAC/s", ""]
    for i, row in enumerate(grid):
        label = f"{top / 1e9:g}" if i == 0 else f"{bottom / 1e9:g}" if i == HEIGHT - 1 else "GMAC/s" if i == HEIGHT // 2 else ""
        lines.append(f"{label:>8} |{''.join(row)}".rstrip())
    scale = f"{left:g}".ljust(WIDTH // 2 - 10) + "multiplications/byte"
    lines += [" " * 9 + "+" + "-" * WIDTH, " " * 10 + scale + f"{right:g}".rjust(WIDTH - len(scale)), ""]
    for mark, result in zip(_MARKS, results, strict=False):
        share = result.macs / roof(ceilings, intensity(result))
        lines.append(f"  {mark}  {result.case.name}: {result.macs / 1e9:.1f} GMAC/s at {intensity(result):.3g} per byte, {share:.0%} of its roof")
    return "\n".join(lines) + "\n"
