"""TQ1_0: 256 ternary weights, five to a byte, with one scale (ggml-common.h, block_tq1_0).

Layout of 54 bytes: qs[48] | qh[4] | d f16. Digit n of byte i is weight 32 * n + i for i < 32, else 160 + 16 * n + (i - 32), and
of byte i of qh weight 240 + 4 * n + i. A byte is a fraction of 256: times 3 its whole part is digit 0, what is left times 3 has
digit 1, and so on; bytes of qh have four digits, the others five. A weight is d * (digit - 1).

Packed as codes of 2 bits, like TQ2_0.
"""

from __future__ import annotations

import numpy as np

from edgerun.formats import search
from edgerun.formats.bits import F16, U32, U64, exchange, transpose_fields
from edgerun.formats.format import Format
from edgerun.formats.packing import Packing

_POWERS = np.array([81, 27, 9, 3, 1], np.uint8)


def heads(blocks: np.ndarray) -> dict[str, np.ndarray]:
    """The scale of each block."""
    return {"d": blocks[..., 52:].view(F16)[..., 0]}


def words(blocks: np.ndarray) -> np.ndarray:
    """Each byte's first four digits as fields, then moved to where the packing has their columns; the fifth by itself."""
    rows, n = blocks.shape[:2]
    most, last = np.moveaxis(blocks[..., :48].view(U64), -1, 0).tobytes(), blocks[..., 48:52].tobytes()
    fields = np.frombuffer(most.translate(_FIELDS), U64).reshape(6, rows, n)
    out = np.empty((8, rows, n), U64)   # by sub-block: field f of its eight bytes is columns 8f and on
    out[:4] = fields[:4]
    transpose_fields(out[:4], 2)
    # Of bytes 32-47, eight bytes g, digits 2i and 2i + 1 become sub-block 5 + i, fields g and 2 + g.
    out[5:7] = fields[4:]
    exchange(out[5], out[6], 2, 0x3333333333333333)
    exchange(out[5], out[6], 4, 0x0F0F0F0F0F0F0F0F)
    fifth = _first_digit(np.frombuffer(most, np.uint8) * np.uint8(81)).view(U64).reshape(3, 2, rows, n)
    pairs = fifth[:, 0] | fifth[:, 1] << 2
    out[4] = pairs[0] | pairs[1] << 4
    out[7] = pairs[2]
    result = out.view(U32).reshape(8, rows, n, 2)
    rest = np.frombuffer(last.translate(_LAST_FIELDS), U32).reshape(rows, n)
    result[7, ..., 0] |= rest << 4 & 0xF0F0F0F0
    result[7, ..., 1] |= rest & 0xF0F0F0F0
    return result.transpose(1, 2, 0, 3)


def codes(blocks: np.ndarray) -> np.ndarray:
    """uint8 [rows, blocks, 54] -> uint8 [rows, cols]."""
    rows, n = blocks.shape[:2]
    digits = _first_digit(blocks[..., None, :52] * _POWERS[::-1, None])
    parts = (digits[..., :32], digits[..., 32:48], digits[:, :, :4, 48:])
    return np.concatenate([part.reshape(rows, n, -1) for part in parts], -1).reshape(rows, -1)


def _first_digit(q: np.ndarray) -> np.ndarray:
    """The whole part of 3 / 256 of each byte, in place of the byte."""
    some = q > 85
    np.greater(q, 170, out=q.view(bool))
    q += some
    return q


def _fields(order: tuple[int, ...]) -> bytes:
    """For each byte its first four digits, digit order[f] in field f."""
    digits = [_first_digit(np.arange(256, dtype=np.uint8) * np.uint8(3**i)) for i in order]
    return (digits[0] | digits[1] << 2 | digits[2] << 4 | digits[3] << 6).tobytes()


_FIELDS, _LAST_FIELDS = _fields((0, 1, 2, 3)), _fields((0, 2, 1, 3))


def encode(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """Find the scale of least weighted squared error; weights that are ternary stay as they are."""
    d, q = search.valued_blocks(x, importance, search.TERNARY, 256)
    shape = q.shape[:2]
    parts = (q[..., :160].reshape(*shape, 5, 32), q[..., 160:240].reshape(*shape, 5, 16), q[..., 240:].reshape(*shape, 4, 4))
    sums = [(part * _POWERS[: part.shape[2], None]).sum(2, dtype=np.uint16) for part in parts]
    whole = np.concatenate(sums, -1)
    qs = ((whole * 256 + 242) // 243).astype(np.uint8)
    return np.concatenate([qs, d.view(np.uint8)], -1).reshape(x.shape[0], -1)


FORMAT = Format("TQ1_0", 34, 256, 54, Packing(bits=2, cols=256, scale="f16/block", bias=1), codes, encode, heads, words)
