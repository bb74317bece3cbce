from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerun.errors import UsageError
from quant.windows import windows

IDS = list(range(100, 140))


def test_windows_lie_end_to_end_and_begin_with_bos() -> None:
    found = windows(IDS, 16, bos=1)
    assert [w.tokens for w in found] == [[1, *IDS[1:16]], [1, *IDS[17:32]]]
    assert [w.first for w in found] == [8, 8]
    assert found[0].targets == IDS[9:16]
    assert windows(IDS, 16)[0].tokens == IDS[:16]
    assert len(windows(IDS, 16, most=1)) == 1


def test_with_a_stride_every_token_is_judged_once() -> None:
    found = windows(IDS, 8, stride=4)   # as llama.cpp: the window grows by half a stride
    assert {len(w.tokens) for w in found} == {10}
    assert [t for w in found for t in w.targets] == IDS[6 : 6 + 4 * len(found)]
    assert found[1].tokens == IDS[4:14]


@given(st.integers(4, 40), st.integers(0, 39), st.integers(0, 200))
def test_windows_are_whole_or_refused(size: int, stride: int, count: int) -> None:
    try:
        found = windows(list(range(count)), size, stride)
    except UsageError:
        assert stride >= size or count < 2 * (size + stride // 2)
        return
    assert found
    assert all(len(w.tokens) == size + stride // 2 and 0 < len(w.targets) < len(w.tokens) for w in found)


@pytest.mark.parametrize(("size", "stride"), [(3, 0), (8, 8), (8, -1)])
def test_windows_that_make_no_sense(size: int, stride: int) -> None:
    with pytest.raises(UsageError, match="make no sense"):
        windows(IDS, size, stride)
