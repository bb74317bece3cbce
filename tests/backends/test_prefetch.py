"""Prefetching: each line once, some time before its use, from several pages in turn."""

from __future__ import annotations

from itertools import pairwise

import pytest

from edgerun.backends.cpu.kernels import prefetch
from edgerun.backends.cpu.kernels.prefetch import LINE, PAGE, PAGES, WINDOW


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lines that are asked for."""
    asked: list[int] = []
    monkeypatch.setattr(prefetch.S, "prefetch_later", asked.append)
    return asked


@pytest.mark.parametrize("step", [32, 264, 592, 2368])
@pytest.mark.parametrize("first", [0, 64, 32704, 1 << 21])
def test_each_line_is_asked_for_once_and_in_time(lines: list[int], first: int, step: int) -> None:
    asked, end = prefetch.start.py_func(first), first + 20 * WINDOW
    for p in range(first, end, step):
        before = len(lines)
        asked = prefetch.upto.py_func(asked, p)
        assert all(p < line for line in lines[before:])                       # nothing that was used already
    assert len(set(lines)) == len(lines)
    inner = range(-(-first // WINDOW) * WINDOW + WINDOW, (end - step) // WINDOW * WINDOW, LINE)
    assert set(inner) <= set(lines)
    assert max(lines) < end + 2 * WINDOW


def test_neighbours_in_time_are_of_different_pages(lines: list[int]) -> None:
    prefetch.upto.py_func(0, 4 * WINDOW)
    pages = [line // PAGE for line in lines]
    assert all(a != b for a, b in pairwise(pages))
    assert all(len(set(pages[i : i + PAGES])) == PAGES for i in range(0, len(pages), PAGES))
