"""Asks for weights before they are multiplied, so that decode reads at the memory's pace. Knows nothing of what they are.

A core alone waits for a dozen cache lines at a time. More are under way only where its own prefetchers follow, and those begin anew in
each page of 4 kB. So lines are asked for in another order than they are used in: from several pieces in turn, in each of which the
prefetchers go on. Every line is asked for once. An order is two words (`control.py`).
"""

from __future__ import annotations

from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.control import PIECE, PIECES

LINE, AHEAD = 64, 32 << 10


@S.inner
def start(p: int, order: int) -> int:
    """Where to begin when what lies from p on is read. order: address of the two words."""
    return p & -(LINE << S.word(order, PIECES))


@S.inner
def upto(asked: int, end: int, order: int) -> int:
    """Ask for what will be read AHEAD later than `asked` to `end`; -> up to where that is done now."""
    pieces, size = S.word(order, PIECES), S.word(order, PIECE)
    while asked < end:
        at = asked + AHEAD
        within = at & ((size << pieces) - 1)
        line = at - within + (within >> pieces)
        for piece in range(1 << pieces):
            S.prefetch_later(line + piece * size)
        asked += LINE << pieces
    return asked
