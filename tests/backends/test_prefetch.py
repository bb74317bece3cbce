"""Prefetching: every line, some time before its use, evenly, from several pieces in turn."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from llvmlite import ir
from numba import njit, types

from edgerun.backends.cpu.kernels import prefetch
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.prefetch import HALVES, LINE, PAGES, PAIR, Order

every_order = pytest.mark.parametrize("order", [HALVES, PAGES], ids=["halves", "pages"])
FIRST = 1 << 21   # nothing lies there: nothing is read


def requests(monkeypatch: pytest.MonkeyPatch, size: int, count: int, turns: int, order: Order | None, first: int = FIRST) -> list[list[int]]:
    """The lines that are asked for in each turn of `count` stretches, one after another."""
    log = np.zeros(1 + 4 * count * turns * (2 + size // PAIR), np.int64)   # a number, and what was written

    def write(b: Any, value: Any) -> None:
        word = ir.IntType(64)
        number = b.inttoptr(word(log.ctypes.data), word.as_pointer())
        n = b.add(b.load(number), word(1))
        b.store(n, number)
        b.store(value, b.inttoptr(b.add(word(log.ctypes.data), b.mul(n, word(8))), word.as_pointer()))

    monkeypatch.setattr(prefetch.S, "request", write)

    @S.op(types.void, S.i64)
    def stretch(b: Any, p: Any) -> None:
        asking = prefetch.Asking(b, p, size, turns, order)
        for _ in range(turns):
            write(b, ir.IntType(64)(-1))
            asking.turn()

    @njit
    def run(p: int) -> None:
        for _ in range(count):
            stretch(p)
            p += size

    run(first)
    found: list[list[int]] = []
    for line in log[1 : 1 + log[0]].tolist():
        if line < 0:
            found.append([])
        else:
            found[-1].append(line // LINE * LINE)
    return found


@every_order
@pytest.mark.parametrize("first", [0, 64, 32704])
@pytest.mark.parametrize("size", [64, 264, 288, 544, 840])
def test_each_line_is_asked_for_in_time(monkeypatch: pytest.MonkeyPatch, order: Order, size: int, first: int) -> None:
    window, count = order.pieces * order.size, 100_000 // size
    start, ahead = FIRST + first, order.ahead
    turns = requests(monkeypatch, size, count, 4, order, start)
    lines = [line for turn in turns for line in turn]
    end = start + ahead + count * size
    inner = range(-(-(start + ahead) // window) * window, end // window * window, LINE)
    assert len(inner) > 800
    assert set(inner) <= set(lines)
    assert min(lines) >= start + ahead - window
    assert max(lines) < end + window
    assert min(line - (start + i // 4 * size) for i, turn in enumerate(turns) for line in turn) >= ahead - window >= 0   # not used already
    assert len(lines) <= 2 * count * (size // PAIR + 1)   # twice at most where stretches meet


@every_order
@pytest.mark.parametrize(("size", "turns"), [(592, 8), (840, 8), (288, 4), (544, 4), (64, 2)])
def test_requests_are_spread_over_the_turns(monkeypatch: pytest.MonkeyPatch, order: Order, size: int, turns: int) -> None:
    each = [len(turn) for turn in requests(monkeypatch, size, 1, turns, order)]
    assert len(each) == turns
    assert max(each) - min(each) <= 2   # a pair


@every_order
def test_neighbours_in_time_are_of_different_pieces(monkeypatch: pytest.MonkeyPatch, order: Order) -> None:
    places = [line // order.size for turn in requests(monkeypatch, 1 << 16, 1, 1, order) for line in turn]
    assert all(a != b for a, b in pairwise(places))
    assert all(len(set(places[i : i + order.pieces])) == order.pieces for i in range(0, len(places), order.pieces))


def test_few_bits_are_asked_for_from_pages() -> None:
    assert [prefetch.order(bits, core="sapphirerapids") for bits in (1, 2, 3, 4, 5, 6, 8, 16)] == [PAGES] * 3 + [HALVES] * 5


def test_a_core_of_amd_is_left_alone_where_it_has_little_to_do_for_a_line() -> None:
    assert [prefetch.order(bits, core="znver4") for bits in (1, 2, 3, 4, 5, 8, 16)] == [None] * 7
    assert [prefetch.order(bits, sub, "znver3") for bits, sub in ((2, 16), (3, 16), (4, 16), (6, 16))] == [HALVES, HALVES, None, None]


def test_nothing_is_asked_for_without_an_order(monkeypatch: pytest.MonkeyPatch) -> None:
    assert requests(monkeypatch, 576, 3, 4, None) == [[]] * 12
