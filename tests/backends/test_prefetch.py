"""Prefetching: each line once, some time before its use, from several pieces in turn."""

from __future__ import annotations

from itertools import pairwise

import pytest

from edgerun.backends.cpu.kernels import prefetch
from edgerun.backends.cpu.kernels.control import HALVES, PAGES
from edgerun.backends.cpu.kernels.prefetch import AHEAD, LINE

every_order = pytest.mark.parametrize("order", [HALVES, PAGES], ids=["halves", "pages"])
Order = tuple[int, int]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lines that are asked for."""
    asked: list[int] = []
    monkeypatch.setattr(prefetch.S, "prefetch_later", asked.append)
    monkeypatch.setattr(prefetch.S, "word", lambda order, i: order[i])
    return asked


@every_order
@pytest.mark.parametrize("step", [32, 264, 592, 2368])
@pytest.mark.parametrize("first", [0, 64, 32704, 1 << 21])
def test_each_line_is_asked_for_once_and_in_time(lines: list[int], order: Order, first: int, step: int) -> None:
    window = order[1] << order[0]
    asked, end = prefetch.start.py_func(first, order), first + 20 * AHEAD
    for p in range(first, end, step):
        before = len(lines)
        asked = prefetch.upto.py_func(asked, p, order)
        assert all(p < line for line in lines[before:])                       # nothing that was used already
    assert len(set(lines)) == len(lines)
    inner = range(-(-first // window) * window + AHEAD, (end - step) // window * window, LINE)
    assert set(inner) <= set(lines)
    assert max(lines) < end + AHEAD + window


@every_order
def test_neighbours_in_time_are_of_different_pieces(lines: list[int], order: Order) -> None:
    prefetch.upto.py_func(0, 4 * AHEAD, order)
    pieces, places = 1 << order[0], [line // order[1] for line in lines]
    assert all(a != b for a, b in pairwise(places))
    assert all(len(set(places[i : i + pieces])) == pieces for i in range(0, len(places), pieces))
