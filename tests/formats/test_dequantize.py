"""Bytes to weights, against the gguf package, to the bit."""

from __future__ import annotations

import warnings
from pathlib import Path

import gguf
import numpy as np
import pytest
from format_cases import HALVES, every_coded, every_format, every_halved, rows_of, with_scale
from hypothesis import given
from hypothesis import strategies as st

from edgerun.formats import Format, by_id, by_name
from edgerun.gguf import open_gguf

GOLDEN = Path(__file__).parents[1] / "golden" / "formats"
SCALED = pytest.mark.parametrize("name", sorted(HALVES))


def truth(fmt: Format, rows: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        if fmt.name in UNKNOWN:
            blocks = rows.reshape(rows.shape[0], -1, fmt.nbytes)
            d = np.ascontiguousarray(blocks[..., :2]).view(np.float16).astype(np.float32)
            return (UNKNOWN[fmt.name](blocks[..., 2:]) * d).reshape(rows.shape[0], -1)
        return gguf.quants.dequantize(rows, gguf.GGMLQuantizationType(fmt.id))


def _bits(qs: np.ndarray) -> np.ndarray:
    """Q1_0: weight j is bit j % 8 of byte j / 8; set bits are 1, the others -1."""
    return np.stack([np.where(qs[..., j // 8] >> j % 8 & 1, np.float32(1), np.float32(-1)) for j in range(128)], -1)


def _pairs(qs: np.ndarray) -> np.ndarray:
    """Q2_0: weight j is two bits of byte j / 4, the low ones first, less one."""
    return np.stack([(qs[..., j // 4] >> j % 4 * 2 & 3).astype(np.float32) - 1 for j in range(64)], -1)


UNKNOWN = {"Q1_0": _bits, "Q2_0": _pairs}   # to the gguf package: written out here, and held to llama.cpp by golden blocks


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


@pytest.mark.parametrize("name", ["Q1_0", "Q2_0", "MXFP4", "NVFP4"])
def test_blocks_that_llama_cpp_dequantized(name: str) -> None:
    with np.load(GOLDEN / f"{name}.npz") as golden:
        blocks, values = golden["blocks"], golden["values"]
    fmt = by_name(name)
    assert same_bits(fmt.dequantize(blocks), values)
    assert same_bits(truth(fmt, blocks), values)


@pytest.mark.parametrize("name", ["MXFP4", "NVFP4"])
def test_every_byte_that_is_a_scale(name: str) -> None:
    fmt = by_name(name)
    raw = rows_of(fmt, 256, 4).reshape(256, 4, fmt.nbytes)
    raw[..., : 1 if name == "MXFP4" else 4] = np.arange(256, dtype=np.uint8)[:, None, None]
    raw = raw.reshape(256, -1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same_bits(fmt.dequantize(raw), truth(fmt, raw))


@every_halved
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


@every_halved
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
    fmt = by_name(name)
    raw = rows_of(fmt, 9, 2)
    assert same_bits(fmt.dequantize(raw)[4:5], fmt.dequantize(raw[4:5]))
    assert fmt.dequantize(raw[:0]).shape == (0, 2 * fmt.block)


@pytest.mark.model
def test_a_real_model(smollm2: Path) -> None:
    with open_gguf(smollm2) as model:
        for tensor in list(model.tensors.values())[:12]:
            fmt, raw = by_id(tensor.type), tensor.read(0, min(256, tensor.shape[0]) if len(tensor.shape) > 1 else 1)
            assert same_bits(fmt.dequantize(raw), truth(fmt, raw)), tensor.name
