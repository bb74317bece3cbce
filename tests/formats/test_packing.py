"""The packed layout, read back by its definition."""

from __future__ import annotations

import numpy as np
import pytest
from format_cases import CODEBOOKS, FORMATS, every_coded, every_format, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerun.formats import Format
from edgerun.formats.packing import ROWS, Packing, Parts, pack, values


def unpack(packing: Packing, packed: np.ndarray, cols: int) -> Parts:
    """What `packing.py` says of each byte, the other way round: uint8 [row blocks, bytes] -> Parts."""
    rows = packed.shape[0] * ROWS
    row, column = np.indices((rows, cols))
    if packing.kind != "code":
        kind = {"f32": np.float32, "f16": np.float16, "bf16": np.uint16}[packing.kind]
        return Parts(packed.view(kind).reshape(packed.shape[0], cols, ROWS)[row // ROWS, column, row % ROWS])
    blocks = packed.reshape(packed.shape[0], -1, packing.size)
    inside = column % packing.cols
    span, vectors, fields = packing.span, packing.vectors, 8 // packing.bits
    width, each = 8 // fields, span // 4 // fields   # bits of a field, groups that have their codes in it
    bit, group = np.arange(packing.bits)[:, None, None], inside % span // 4   # of a code, each by itself
    place, further = group % each, (group % each - vectors) * packing.bits + bit
    rest = max(1, width - packing.bits)
    vector = np.where(place < vectors, place, further // rest)
    first = group // each * width + np.where(place < vectors, width - packing.bits + bit, further % rest)
    byte = packing.codes_at + (inside // span * vectors + vector) * 64 + 4 * (row % ROWS) + column % 4
    codes = ((blocks[row // ROWS, column // packing.cols, byte] >> first.astype(np.uint8) & 1) << bit).sum(0).astype(np.uint8)

    def entries(at: int, count: int, kind: type) -> np.ndarray:
        size = np.dtype(kind).itemsize
        lanes = blocks[:, :, at : at + count * ROWS * size].copy().view(kind).reshape(*blocks.shape[:2], count, ROWS)
        return lanes.transpose(0, 3, 1, 2).reshape(rows, -1)

    signs = np.int8 if packing.scale == "f16*s8" else np.uint8
    return Parts(
        codes,
        d=entries(0, packing.tops, np.uint16 if packing.scale == "bf16" else np.float16),
        m=entries(packing.m_at, packing.tops, np.float16) if packing.offset != "bias" else None,
        scales=entries(packing.scales_at, packing.subs, signs) if packing.scaled else None,
        mins=entries(packing.mins_at, packing.subs, np.uint8) if packing.offset == "f16*u8" else None,
    )


def repacked(fmt: Format, raw: np.ndarray) -> np.ndarray:
    cols = raw.shape[1] // fmt.nbytes * fmt.block
    out = np.full((-(-raw.shape[0] // ROWS), fmt.packing.nbytes(ROWS, cols)), 0xAA, np.uint8)
    fmt.repack(raw, out)
    return out


def check(fmt: Format, raw: np.ndarray) -> None:
    cols = raw.shape[1] // fmt.nbytes * fmt.block
    back = values(fmt.packing, unpack(fmt.packing, repacked(fmt, raw), cols))
    assert np.array_equal(back[: raw.shape[0]].view(np.uint32), fmt.dequantize(raw).view(np.uint32))
    assert not back[raw.shape[0] :].any(), "missing rows are zeros"


@every_format
@pytest.mark.parametrize("rows", [1, 15, 16, 17, 40])
@pytest.mark.parametrize("blocks", [1, 3])
def test_packed_weights_are_the_file_s(fmt: Format, rows: int, blocks: int) -> None:
    check(fmt, rows_of(fmt, rows, blocks, seed=rows))


@settings(max_examples=40)
@given(st.sampled_from(FORMATS), st.integers(1, 50), st.integers(1, 5), st.integers(0, 2**32))
def test_any_shape(fmt: Format, rows: int, blocks: int, seed: int) -> None:
    check(fmt, rows_of(fmt, rows, blocks, seed))


@every_format
def test_a_matrix_of_many_slices(fmt: Format) -> None:
    check(fmt, rows_of(fmt, 16 * 21 + 3, 2048 // fmt.block))


@every_coded
def test_the_short_cut_equals_the_long_way(fmt: Format) -> None:
    raw = rows_of(fmt, 48, 4)
    slow = np.zeros((3, fmt.packing.nbytes(ROWS, 4 * fmt.block)), np.uint8)
    pack(fmt.packing, fmt.parts(raw), slow)
    assert np.array_equal(repacked(fmt, raw), slow)


@every_format
def test_rows_and_result_may_be_parts_of_larger_arrays(fmt: Format) -> None:
    raw = rows_of(fmt, 32, 4)
    wide = np.zeros((64, raw.shape[1] + 3), np.uint8)
    wide[::2, 3:] = raw
    room = np.zeros((2, fmt.packing.nbytes(ROWS, 4 * fmt.block) + 64), np.uint8)
    fmt.repack(wide[::2, 3:], room[:, 64:])
    assert np.array_equal(room[:, 64:], repacked(fmt, raw))
    assert not room[:, :64].any()


@every_format
def test_sizes_follow_from_the_fields(fmt: Format) -> None:
    p = fmt.packing
    assert p.nbytes(16, fmt.block) * 3 == p.nbytes(48, fmt.block) == p.nbytes(33, fmt.block)
    if p.kind != "code":
        return
    assert (p.cols, p.size % 32) == (fmt.block, 0)
    most = 4.5 / 8 * fmt.block if fmt in CODEBOOKS else fmt.nbytes * 1.35
    assert p.size <= ROWS * most, "packed weights are hardly larger than the file's, of codebooks no larger than 4-bit ones"
    fields = [*(at for _, _, at in p.heads), p.codes_at]
    assert fields == sorted(set(fields))
    assert p.codes_at + p.cols // p.span * p.vectors * 64 == p.size
    used = sorted((v, at + i) for group in range(p.span // 4) for v, at, bits in p.pieces(group) for i in range(bits))
    assert used == [(v, bit) for v in range(p.vectors) for bit in range(8)], "each bit belongs to one code"
    if p.table:
        assert len(p.table) == 1 << p.bits
        assert 0 <= min(p.table) + p.bias <= max(p.table) + p.bias < 256
    elif p.offset == "bias":
        assert 0 < p.bias < 1 << p.bits
