"""Bytes to weights, against the gguf package, to the bit."""

from __future__ import annotations

import warnings
from pathlib import Path

import gguf
import numpy as np
import pytest
from format_cases import HALVES, every_coded, every_format, rows_of, with_scale
from hypothesis import given
from hypothesis import strategies as st

from edgerun.formats import Format, by_id
from edgerun.gguf import open_gguf

SCALED = pytest.mark.parametrize("name", sorted(HALVES))


def truth(fmt: Format, rows: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return gguf.quants.dequantize(rows, gguf.GGMLQuantizationType(fmt.id))


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype == np.float32 and a.shape == b.shape and np.array_equal(a.view(np.uint32), b.view(np.uint32))


@every_format
@pytest.mark.parametrize(("rows", "blocks"), [(1, 1), (3, 5), (33, 8)])
def test_random_blocks(fmt: Format, rows: int, blocks: int) -> None:
    raw = rows_of(fmt, rows, blocks, seed=rows)
    assert same_bits(fmt.dequantize(raw), truth(fmt, raw))


@every_format
def test_a_long_matrix_in_slices(fmt: Format) -> None:
    raw = rows_of(fmt, 700, max(1, 512 // fmt.block))
    assert same_bits(fmt.dequantize(raw), truth(fmt, raw))


@every_coded
@pytest.mark.parametrize("bits", [0, 0x8000, 1, 0x8001, 0x03FF, 0x0400, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF])
def test_extreme_scales(fmt: Format, bits: int) -> None:
    raw = with_scale(fmt, rows_of(fmt, 4, 3), bits)
    assert same_bits(fmt.dequantize(raw), truth(fmt, raw))


@every_coded
@given(data=st.data())
def test_any_finite_block(fmt: Format, data: st.DataObject) -> None:
    raw = np.frombuffer(data.draw(st.binary(min_size=fmt.nbytes, max_size=fmt.nbytes)), np.uint8).reshape(1, -1)
    ours, theirs = fmt.dequantize(raw), truth(fmt, raw)
    assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    finite = ~np.isnan(ours)
    assert np.array_equal(ours[finite].view(np.uint32), theirs[finite].view(np.uint32))


@every_coded
@pytest.mark.parametrize("bits", [0x7C00, 0xFC00, 0x7E00, 0x7D01, 0xFFFF])
def test_infinite_and_nan_scales_stay_in_their_block(fmt: Format, bits: int) -> None:
    raw = rows_of(fmt, 16, 3)
    sick = raw.copy()
    sick[5, fmt.nbytes : 2 * fmt.nbytes] = with_scale(fmt, raw, bits)[5, fmt.nbytes : 2 * fmt.nbytes]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = fmt.dequantize(sick)
        fmt.repack(sick, np.zeros((1, fmt.packing.nbytes(16, 3 * fmt.block)), np.uint8))
    where = np.zeros(values.shape, bool)
    where[5, fmt.block : 2 * fmt.block] = True
    assert np.array_equal(values[~where], fmt.dequantize(raw)[~where])
    assert not np.isfinite(values[where]).all()


@SCALED
def test_rows_are_independent(name: str) -> None:
    fmt = by_id(gguf.GGMLQuantizationType[name])
    raw = rows_of(fmt, 9, 2)
    assert same_bits(fmt.dequantize(raw)[4:5], fmt.dequantize(raw[4:5]))
    assert fmt.dequantize(raw[:0]).shape == (0, 2 * fmt.block)


@pytest.mark.model
def test_a_real_model(smollm2: Path) -> None:
    with open_gguf(smollm2) as model:
        for tensor in list(model.tensors.values())[:12]:
            fmt, raw = by_id(tensor.type), tensor.read(0, min(256, tensor.shape[0]) if len(tensor.shape) > 1 else 1)
            assert same_bits(fmt.dequantize(raw), truth(fmt, raw)), tensor.name
