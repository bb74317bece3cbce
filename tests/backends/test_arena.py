from __future__ import annotations

import mmap
import os
from typing import Any

import numpy as np
import pytest

from edgerun.backends.cpu import arena as arenas
from edgerun.backends.cpu.arena import Arena, aligned
from edgerun.errors import ResourceError


def test_pieces_are_aligned_apart_and_zero() -> None:
    arena = Arena(aligned(100) + aligned(1) + aligned(4 * 15), "a test")
    pieces = [arena.take(100), arena.take(1), arena.floats(3, 5)]
    assert [piece.ctypes.data % 64 for piece in pieces] == [0, 0, 0]
    assert (pieces[2].shape, pieces[2].dtype) == ((3, 5), np.float32)
    assert not any(piece.any() for piece in pieces)
    for i, piece in enumerate(pieces):
        piece[:] = i + 1
    assert [(int(piece.min()), int(piece.max())) for piece in pieces] == [(1, 1), (2, 2), (3, 3)]


def test_more_than_was_planned_is_a_bug() -> None:
    arena = Arena(128, "a test")
    arena.take(65)
    with pytest.raises(AssertionError, match="too small"):
        arena.take(1)


def test_nothing_at_all() -> None:
    assert Arena(0, "a test").take(0).nbytes == 0


@pytest.mark.parametrize("nbytes", [1 << 60, 1 << 80])
def test_what_the_system_does_not_grant(nbytes: int) -> None:
    with pytest.raises(ResourceError, match=r"cannot reserve \d+ MB for the weights: ") as error:
        Arena(nbytes, "the weights")
    assert "\n" not in str(error.value)


def test_a_piece_outlives_its_arena() -> None:
    piece = Arena(64, "a test").take(64)
    piece[:] = 7
    assert piece.tolist() == [7] * 64


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="huge pages are asked for on Linux")
@pytest.mark.parametrize("huge", [True, False])
def test_huge_pages_are_asked_for_where_they_pay_and_may_be_refused(monkeypatch: pytest.MonkeyPatch, huge: bool) -> None:
    asked = []

    class Refusing(mmap.mmap):
        def madvise(self, option: int, *_: Any) -> None:
            asked.append(option)
            raise OSError(22, "a kernel without huge pages")

    monkeypatch.setattr(arenas.mmap, "mmap", Refusing)
    assert not Arena(1 << 22, "a test", huge).take(1 << 22).any()
    assert asked == ([mmap.MADV_HUGEPAGE] if huge else [])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_memory_of_its_own() -> None:
    piece = Arena(64, "a test").take(64)
    child = os.fork()
    if not child:
        piece[:] = 1
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert not piece.any()
