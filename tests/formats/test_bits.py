from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerun.formats.bits import exchange, swap_index_bits, transpose_fields

WORD = st.integers(0, 2**32 - 1)


@given(WORD, WORD, st.sampled_from([(4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555), (16, 0xFFFF)]))
def test_exchange_swaps_two_masks(a: int, b: int, how: tuple[int, int]) -> None:
    shift, mask = how
    x, y = np.array([a], np.uint32), np.array([b], np.uint32)
    exchange(x, y, shift, mask)
    high = mask << shift & 0xFFFFFFFF
    assert int(x[0]) == a & ~high | (b & mask) << shift
    assert int(y[0]) == b & ~mask | (a & high) >> shift


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint32, np.uint64])
def test_transpose_fields_by_its_definition(bits: int, dtype: type) -> None:
    count = 8 // bits
    words = np.random.default_rng(bits).integers(0, np.iinfo(dtype).max, (count, 3, 5), dtype, endpoint=True)
    old = words.copy().view(np.uint8)
    transpose_fields(words, bits)
    new = words.view(np.uint8)
    for i in range(count):
        for f in range(count):
            assert ((new[i] >> f * bits & 2**bits - 1) == (old[f] >> i * bits & 2**bits - 1)).all()


@given(WORD, st.lists(st.integers(0, 4), min_size=2, max_size=2, unique=True))
def test_swap_index_bits_by_its_definition(word: int, digits: list[int]) -> None:
    low, high = sorted(digits)
    words = np.array([word], np.uint32)
    swap_index_bits(words, high, low)
    for i in range(32):
        j = i & ~(1 << high | 1 << low) | (i >> low & 1) << high | (i >> high & 1) << low
        assert int(words[0]) >> j & 1 == word >> i & 1
