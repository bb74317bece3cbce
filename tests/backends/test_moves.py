"""Repacking as moves of bits: found for every format that only moves them, and for no other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgerun.backends.cpu import moves as module
from edgerun.backends.cpu.kernels.control import MOST_WINDOWS
from edgerun.backends.cpu.moves import moves_of
from edgerun.formats import by_name
from edgerun.formats.format import Format

ID = 90   # of no format


def found(monkeypatch: pytest.MonkeyPatch, fmt: Format) -> bool:
    """Whether moves are found for a format that is not in the registry."""
    monkeypatch.setattr(module, "by_id", lambda type_id: fmt)
    return moves_of.__wrapped__(ID) is not None


@pytest.mark.parametrize("fmt", ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"])
def test_formats_that_move_bits(fmt: str) -> None:
    moves = moves_of(by_name(fmt).id)
    assert moves is not None
    assert moves.table[0] == by_name(fmt).row_bytes(moves.cols)
    assert moves.table[1] == by_name(fmt).packing.nbytes(16, moves.cols)


def test_the_table_of_q8_0() -> None:
    """A scale, which lies across two words, and eight words of codes whose signs are flipped."""
    moves = moves_of(by_name("Q8_0").id)
    assert moves is not None
    nbytes, size, windows, elements, *rest = moves.table.tolist()
    assert (nbytes, size, windows, elements) == (34, 32 + 512, 3, 9)
    assert rest[:3] == [2, 18, 0]
    assert rest[3:10] == [0, 2, 0, 1, 512, 0, 0xFFFF]
    assert rest[10:17] == [32, 4, 0x80808080, 1, 0, 0, 0xFFFFFFFF]


def test_what_is_computed_is_left_to_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    fmt = by_name("Q4_0")
    assert found(monkeypatch, fmt)
    assert not found(monkeypatch, replace(fmt, words=None, codes=lambda blocks: fmt.codes(blocks) ^ (fmt.codes(blocks) >> 1)))
    assert not found(monkeypatch, replace(fmt, words=None, codes=lambda blocks: np.minimum(fmt.codes(blocks), 14)))
    assert not found(monkeypatch, replace(fmt, heads=lambda blocks: {"d": fmt.heads(blocks)["d"] * np.float16(2)}))


def test_blocks_that_differ_by_their_place_are_left_to_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    fmt = by_name("Q4_0")
    assert not found(monkeypatch, replace(fmt, words=None, codes=lambda blocks: np.cumsum(fmt.codes(blocks), 1, np.uint8) & 15))


def test_a_block_too_large_for_the_stage_is_left_to_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WINDOWS", 2)
    assert MOST_WINDOWS > 2
    assert not found(monkeypatch, by_name("Q8_0"))
