"""Asks for weights before they are multiplied, so that decode reads at the memory's pace. Knows nothing of what they are.

A core of Intel alone waits for a dozen cache lines at a time. More are under way only where its own prefetchers follow, and those
begin anew in each page of 4 kB. So lines are asked for in another order than they are used in: from several pieces in turn, in each of
which the prefetchers go on. Two lines are asked for at a time, evenly between the products, and without a branch: what is guessed wrong,
or waits in a crowd, is what the core could have looked ahead (decision 028). A core of AMD is only disturbed by that where it has little
else to do for a line (decision 029).
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types

from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.simd import i64, op

CORE = os.environ.get("EDGERUN_KERNEL_CORE", "")   # the CPU that the code will run on, as LLVM calls it
LINE, PAIR = 64, 128
_I64 = ir.IntType(64)


class Order(NamedTuple):
    """Lines come from so many pieces (a power of two) of so many bytes, one of each in turn; ahead: bytes from use to request. That much
    is asked for in vain where a thread's part of a matrix ends, and not at all where it begins."""

    pieces: int
    size: int
    ahead: int


HALVES, PAGES = Order(2, 2048, 8 << 10), Order(8, 4096, 32 << 10)


def order(bits: int, sub: int = 32, core: str = CORE) -> Order | None:
    """Which one, as measured, for weights of so many bits in sub-blocks of so many columns; None: no requests.

    Fewer bits are more arithmetic for a line, and lines are needed more slowly; so are those of short sub-blocks.
    """
    if core.startswith("znver"):
        return HALVES if bits < 4 and sub == 16 else None
    return HALVES if bits >= 4 else PAGES


def pair(b: Any, at: Any, of: Order) -> None:
    """Emitter: ask for the pair of lines whose turn it is when what lies at `at` is."""
    window, turn = of.pieces * of.size, (of.pieces - 1) * LINE
    within = b.and_(at, _I64(window - 1))
    line = b.add(b.sub(at, within), b.udiv(within, _I64(of.pieces)))
    if others := turn & -PAIR:   # the first of the pair is of a piece 0, 2, ..
        line = b.add(line, b.mul(b.and_(at, _I64(others)), _I64(of.size // LINE)))
    S.ordered(b)
    S.request(b, line)
    S.request(b, b.add(line, _I64(of.size)))
    S.ordered(b)


class Asking:
    """Asks for all that will be read later than `size` bytes at p, a part of it in each of so many turns.

    Where another stretch begins within a pair of lines, both ask for that.
    """

    def __init__(self, b: Any, p: Any, size: int, turns: int, of: Order | None) -> None:
        self._b, self._p, self._of = b, p, of
        pairs = -(-size // PAIR)
        self._turns = iter([range(pairs * i // turns, pairs * (i + 1) // turns) for i in range(turns)])

    def turn(self) -> None:
        """Emitter."""
        for i in next(self._turns):
            if self._of:
                pair(self._b, self._b.add(self._p, _I64(self._of.ahead + PAIR * i)), self._of)


@op(types.void, i64)
def ask(b: Any, p: Any) -> None:
    """Ask for what will be read later than the pair of lines at p, which are floats."""
    Asking(b, p, PAIR, 1, order(16)).turn()
