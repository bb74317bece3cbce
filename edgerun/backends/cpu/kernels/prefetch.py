"""Asks for weights before they are multiplied, so that decode reads at the memory's pace. Knows nothing of what they are.

A core alone waits for a dozen cache lines at a time. More are under way only where its own prefetchers follow, and those begin anew in
each page of 4 kB. So lines are asked for in another order than they are used in: from eight pages in turn, in each of which the
prefetchers go on, 4 to 60 kB before their use. Every line is asked for once.
"""

from __future__ import annotations

from edgerun.backends.cpu.kernels import simd as S

PAGES, PAGE, LINE = 8, 4096, 64
WINDOW = PAGES * PAGE
ROUND = PAGES * LINE   # bytes that are asked for together, a line of each page


@S.inner
def start(p: int) -> int:
    """Where to begin when what lies from p on is read."""
    return p & -ROUND


@S.inner
def upto(asked: int, end: int) -> int:
    """Ask for what will be read a window later than `asked` to `end`; -> up to where that is done now."""
    while asked < end:
        at = asked + WINDOW
        within = at & (WINDOW - 1)
        line = at - within + within // PAGES
        for page in range(PAGES):
            S.prefetch_later(line + page * PAGE)
        asked += ROUND
    return asked
