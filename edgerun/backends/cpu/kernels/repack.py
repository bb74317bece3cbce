"""Rows of a file to packed blocks, by a table of moves (`backends/cpu/moves.py` finds it). Knows no format.

Of each block the bytes of 16 rows are staged with rows as lanes, a 4-byte word per vector. An element of the packed block is
then a few staged words, turned and masked, that are joined:

    args     SOURCE, STRIDE: first row, bytes from row to row; BLOCKS: of a row; TARGET; TABLE
    table    bytes of a block in the file | bytes of a packed block | windows | elements
             offset of each window of 16 bytes in the file's block
             for each element: offset in the packed block | bytes per lane: 1, 2 or 4 | bits that are flipped | terms
             for each of its terms: offset in the stage | bits to turn left by | mask
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.control import MOST_WINDOWS
from edgerun.backends.cpu.kernels.simd import I32, i64, op

SOURCE, STRIDE, BLOCKS, TARGET, TABLE = range(5)
_I32 = ir.IntType(32)
_FOUR = ir.VectorType(_I32, 4)
_room = S.scratch(256 * MOST_WINDOWS)


@op(types.void, i64, i64, i64)
def stage(b: Any, address: Any, stride: Any, out: Any) -> None:
    """16 bytes of 16 rows, as 4 vectors: word j of every row."""
    rows = [S.load_at(b, b.add(address, b.mul(stride, stride.type(i))), _FOUR) for i in range(16)]
    # Quarter q of `sets[k]` is row 4q + k, so that a transposition within quarters is one of the whole.
    sets = [S.join(b, S.join(b, rows[k], rows[4 + k]), S.join(b, rows[8 + k], rows[12 + k])) for k in range(4)]

    def mix(x: Any, y: Any, lanes: tuple[int, ...]) -> Any:
        pattern = [4 * q + lane + (12 if lane > 3 else 0) for q in range(4) for lane in lanes]   # lanes of y count from 4
        return b.shuffle_vector(x, y, ir.Constant(I32.ir, pattern))

    low = [mix(sets[k], sets[k + 1], (0, 4, 1, 5)) for k in (0, 2)]
    high = [mix(sets[k], sets[k + 1], (2, 6, 3, 7)) for k in (0, 2)]
    for j, (pair, lanes) in enumerate(((low, (0, 1, 4, 5)), (low, (2, 3, 6, 7)), (high, (0, 1, 4, 5)), (high, (2, 3, 6, 7)))):
        S.store_at(b, b.add(out, out.type(64 * j)), mix(pair[0], pair[1], lanes))


@op(I32, i64)
def splat(b: Any, x: Any) -> Any:
    """The low half of a word in every lane."""
    return S.splat_of(b, b.trunc(x, _I32), I32.ir)


@op(I32, I32, i64, i64, i64)
def join(b: Any, acc: Any, address: Any, turn: Any, mask: Any) -> Any:
    """acc, with the bits of `mask` flipped where those of the vector at `address`, turned left, are set."""
    v = S.load_at(b, address, I32.ir)
    turn = b.trunc(turn, _I32)
    left, right = (S.splat_of(b, b.and_(n, _I32(31)), I32.ir) for n in (turn, b.neg(turn)))
    turned = b.or_(b.shl(v, left), b.lshr(v, right))
    return b.xor(acc, b.and_(turned, S.splat_of(b, b.trunc(mask, _I32), I32.ir)))


@op(types.void, i64, i64, I32)
def store(b: Any, address: Any, width: Any, v: Any) -> None:
    """The low `width` bytes of each lane."""
    for nbytes in (1, 2, 4):
        with b.if_then(b.icmp_signed("==", width, width.type(nbytes))):
            S.store_at(b, address, v if nbytes == 4 else b.trunc(v, ir.VectorType(ir.IntType(8 * nbytes), 16)))


@S.inner
def block(source: int, stride: int, target: int, table: int) -> None:
    """One block of 16 rows."""
    room, windows, elements = _room(), S.word(table, 2), S.word(table, 3)
    for i in range(windows):
        stage(source + S.word(table, 4 + i), stride, room + 256 * i)
    at = 4 + windows
    for _ in range(elements):
        acc = splat(S.word(table, at + 2))
        term = at + 4
        for _ in range(S.word(table, at + 3)):
            acc = join(acc, room + S.word(table, term), S.word(table, term + 1), S.word(table, term + 2))
            term += 3
        store(target + S.word(table, at), S.word(table, at + 1), acc)
        at = term


def repack(args: int, count: int) -> None:
    """Repack 16 * count rows."""
    table, stride = S.word(args, TABLE), S.word(args, STRIDE)
    source, target, nbytes, size = S.word(args, SOURCE), S.word(args, TARGET), S.word(table, 0), S.word(table, 1)
    for _ in range(count):
        for i in range(S.word(args, BLOCKS)):
            block(source + i * nbytes, stride, target, table)
            target += size
        source += 16 * stride


def build() -> Callable:
    """The one kernel of this file."""
    return repack
