"""Codes of blocks replaced by others, for every format whose codes are bits of their own."""

from __future__ import annotations

import numpy as np
import pytest
from format_cases import FORMATS, rows_of, weights

from edgerun.formats import Format, by_name
from edgerun.formats.recode import recoder_of

RECODED = [f for f in FORMATS if recoder_of(f)]


def test_which_formats_have_codes_of_their_own() -> None:
    without = {"F32", "F16", "BF16", "TQ1_0", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S"}
    assert {f.name for f in FORMATS} - {f.name for f in RECODED} == without


@pytest.mark.parametrize("fmt", RECODED, ids=lambda f: f.name)
def test_levels_are_written_and_nothing_else(fmt: Format) -> None:
    recoder, rows = recoder_of(fmt), rows_of(fmt, 5, 3)
    assert recoder is not None
    new = np.random.default_rng(1).choice(np.array(recoder.levels, np.float32), (3 * fmt.block, 5))
    before = fmt.parts(rows.copy())
    recoder.write(new, rows)
    after = fmt.parts(rows)
    assert np.array_equal(np.array(fmt.packing.levels)[after.codes], new.T)
    for head in ("d", "m", "scales", "mins"):
        old, now = getattr(before, head), getattr(after, head)
        assert (old is None) == (now is None)
        if old is not None:
            assert np.array_equal(old, now), head


@pytest.mark.parametrize("fmt", RECODED, ids=lambda f: f.name)
def test_own_levels_change_no_byte(fmt: Format) -> None:
    recoder, x = recoder_of(fmt), weights(7, 2 * fmt.block)
    assert recoder is not None
    rows = fmt.quantize(x)
    levels = np.array(fmt.packing.levels, np.float32)[fmt.parts(rows).codes].T
    again = rows.copy()
    recoder.write(levels, again)
    assert np.array_equal(fmt.dequantize(again), fmt.dequantize(rows))


def test_eight_bits_never_say_minus_128() -> None:
    recoder = recoder_of(by_name("Q8_0"))
    assert recoder is not None
    assert (recoder.levels[0], recoder.levels[-1]) == (-127, 127)
