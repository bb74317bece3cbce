"""How divergences lie: a histogram in powers of ten, as text or as a picture. Knows numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgerun.picture import save

WIDTH = 50
EDGES = [0.0, *(10.0**e for e in range(-6, 2)), np.inf]


def histogram(divergences: Sequence[float]) -> str:
    """A bar for each power of ten; ends with a newline."""
    counts, _ = np.histogram(divergences, EDGES)
    first, last = np.flatnonzero(counts)[[0, -1]]
    lines = []
    for i in range(first, last + 1):
        share = counts[i] / len(divergences)
        label = f"< {EDGES[i + 1]:g}" if i + 1 < len(EDGES) - 1 else f">= {EDGES[i]:g}"
        lines.append(f"{label:>8}  {'█' * round(WIDTH * share):<{WIDTH}}  {100 * share:5.1f} %".rstrip())
    return "\n".join(["   nats   share of the positions", *lines]) + "\n"


def picture(divergences: Sequence[float], title: str, path: Path) -> None:
    """Draw which share of the positions stays below which divergence. OutputError when it cannot be written."""
    x = np.sort(divergences)

    def draw(axes) -> None:   # type: ignore[no-untyped-def]   # of a package that need not be there
        axes.plot(np.maximum(x, 1e-9), np.arange(1, len(x) + 1) / len(x))
        axes.set(xscale="log", xlabel="Kullback-Leibler divergence, nats", ylabel="share of the positions below", title=title)
        axes.grid(visible=True, which="both", alpha=0.3)

    save(draw, path)
