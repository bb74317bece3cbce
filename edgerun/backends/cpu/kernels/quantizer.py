"""Activations to integers: the scales, codes and sums that `activations.py` draws. Knows no op and no weights.

A row by itself takes longer to find what is largest in 16 columns, and to add these up, than to make them codes. Of a whole group of
rows that is done for 16 of them at once: a lane is a row then, as in what is written.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from edgerun.backends.cpu.kernels import activations as A
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels import superblock as B
from edgerun.backends.cpu.kernels.simd import F32, I32, i64, op

GROUP = A.GROUP
_I64, _BYTES16, _FLOAT = ir.IntType(64), ir.VectorType(ir.IntType(8), 16), ir.FloatType()


def quantizer(kind: str) -> Any:
    """Of codes, broad ones or superblocks, an inner function of (x, width, q, d, sums of 16, sums of 32, starts, row, rows): where a row goes
    depends on how many there are. Superblocks have no starts.
    """
    return B.quantizer() if kind == "superblocks" else _row(kind == "broad")


def group_quantizer(kind: str) -> Any:
    """An inner function of (x, bytes from row to row, width, q, d, sums of 16, sums of 32, starts, first row) that does a whole group of rows
    as `quantizer` would one after another, to the bit; None where there is none.
    """
    return None if A.SPLIT or kind == "superblocks" else _group(kind == "broad")


def _row(broad: bool) -> Any:
    """q = round(x / d), d = max |x| / LARGEST over a unit's columns (broad: over 32), and the sums."""
    MOST, LEANS = A.LARGEST, A.LEANS

    @S.inner
    def factor(top: float) -> Any:
        return S.f32(MOST) / top if top > 0.0 else S.f32(0.0)

    @S.inner
    def whole(x: int, q: int, d: int, sums: int, starts: int, top: float) -> float:
        """16 columns as bytes; top: the largest of those that share a scale."""
        codes, step = S.to_i32(S.mul(S.load_f32(x), S.splat(factor(top)))), top / S.f32(MOST)
        S.store_i8(q, codes)
        S.poke_f32(d, step)
        count = S.sum_i32_lanes(codes)
        if LEANS:
            S.poke_i32(starts, -128 * count)
        total = S.f32(count) * step
        S.poke_f32(sums, total)
        return total

    @S.inner
    def bytes_(x: int, q: int, d: int, units: int, floats: int, sums: int, starts: int) -> float:
        one, two = S.absolute(S.load_f32(x)), S.absolute(S.load_f32(x + 64))
        if broad:
            one = two = S.maximum(one, two)
        first = whole(x, q, d, sums, starts, S.max_lanes(one))
        return first + whole(x + 64, q + units, d + floats, sums + floats, starts + floats, S.max_lanes(two))

    @S.inner
    def split(x: int, q: int, d: int, units: int, floats: int, sums: int, starts: int) -> float:
        v, w = S.load_f32(x), S.load_f32(x + 64)
        top = S.max_lanes(S.maximum(S.absolute(v), S.absolute(w)))
        scale, step = S.splat(factor(top)), top / S.f32(MOST)
        a, b = S.to_i32(S.mul(v, scale)), S.to_i32(S.mul(w, scale))
        S.store_i8(q, A.high(a))
        S.store_i8(q + 16, A.high(b))
        S.store_i8(q + 32, A.low(a))
        S.store_i8(q + 48, A.low(b))
        first, second = S.f32(S.sum_i32_lanes(a)) * step, S.f32(S.sum_i32_lanes(b)) * step
        S.poke_f32(d, step)
        S.poke_f32(d + floats, step)
        S.poke_f32(sums, first)
        S.poke_f32(sums + floats, second)
        return first + second

    pair, EVERY = (split, 1) if A.SPLIT else (bytes_, 2)
    BYTES, UNIT, TOGETHER = A.ROW, A.UNIT, A.GROUPED

    @S.inner
    def run(x: int, n: int, q: int, d: int, sums: int, pairs: int, starts: int, units: int, floats: int) -> None:
        for _ in range(0, n, 32):
            S.poke_f32(pairs, pair(x, q, d, units, floats, sums, starts))
            x, q, d, sums, pairs, starts = x + 128, q + EVERY * units, d + 2 * floats, sums + 2 * floats, pairs + floats, starts + 2 * floats

    FAR_UNITS, FAR_FLOATS = TOGETHER.units, TOGETHER.floats

    @S.inner
    def place(x: int, n: int, q: int, d: int, sums: int, pairs: int, starts: int, row: int, rows: int) -> None:
        group, member = row // GROUP * GROUP, row % GROUP
        if group + GROUP <= rows:
            starts += group * (n // 4) + 4 * member
            q, d = q + group * n * BYTES + UNIT * member, d + group * (n // 4) + 4 * member
            sums, pairs = sums + group * (n // 4) + 4 * member, pairs + group * (n // 8) + 4 * member
            run(x, n, q, d, sums, pairs, starts, FAR_UNITS, FAR_FLOATS)
        else:
            at = row * (n // 4)
            run(x, n, q + row * n * BYTES, d + at, sums + at, pairs + row * (n // 8), starts + at, UNIT, 4)

    return place


def _rows_of(b: Any, x: Any, stride: Any) -> list[Any]:
    """16 columns of each row of a group."""
    return [S.load_at(b, b.add(x, b.mul(stride, _I64(t))), F32.ir) for t in range(GROUP)]


@op(F32, i64, i64)
def largest(b: Any, x: Any, stride: Any) -> Any:
    """The largest |x| of 16 columns, a lane for each row."""
    sizes = [S.invoke(b, "llvm.fabs.v16f32", F32.ir, v) for v in _rows_of(b, x, stride)]
    return S.across(b, sizes, lambda v, w: S.larger_of(b, v, w))


@op(F32, F32)
def inverse(b: Any, top: Any) -> Any:
    """LARGEST / top, 0 for 0."""
    return b.select(b.fcmp_ordered(">", top, S.constant(F32.ir, 0.0)), b.fdiv(S.constant(F32.ir, float(A.LARGEST)), top), S.constant(F32.ir, 0.0))


@op(I32, i64, i64, i64, i64)
def write(b: Any, x: Any, stride: Any, q: Any, factors: Any) -> Any:
    """The codes of 16 columns, x times the factor of its row, one row behind the other; their sums, a lane for each row."""
    codes = []
    for t, v in enumerate(_rows_of(b, x, stride)):
        factor = S.splat_of(b, S.load_at(b, b.add(factors, _I64(4 * t)), _FLOAT), F32.ir)
        codes.append(S.rounded(b, b.fmul(v, factor)))
        S.store_at(b, b.add(q, _I64(16 * t)), b.trunc(codes[-1], _BYTES16))
    return S.across(b, codes, b.add)


@op(F32, I32)
def counted(b: Any, v: Any) -> Any:
    """Whole numbers as floats."""
    return b.sitofp(v, F32.ir)


@op(I32, I32)
def start(b: Any, count: Any) -> Any:
    """Where dot products with codes of these sums begin."""
    return b.mul(count, S.constant(I32.ir, -128))


def _group(broad: bool) -> Any:
    """As `_row`, for a group."""
    LEANS, MOST, UNITS, room = A.LEANS, A.LARGEST, A.GROUPED.units, S.scratch(64)

    @S.inner
    def whole(x: int, stride: int, q: int, d: int, sums: int, starts: int, top: Any, factors: int) -> Any:
        S.store_f32(factors, inverse(top))
        count, step = write(x, stride, q, factors), S.div(top, S.splat(S.f32(MOST)))
        S.store_f32(d, step)
        if LEANS:
            S.store_i32(starts, start(count))
        total = S.mul(counted(count), step)
        S.store_f32(sums, total)
        return total

    @S.inner
    def group(x: int, stride: int, n: int, q: int, d: int, sums: int, pairs: int, starts: int, row: int) -> None:
        factors = room()
        q, d, sums, pairs, starts = q + row * n, d + row * (n // 4), sums + row * (n // 4), pairs + row * (n // 8), starts + row * (n // 4)
        for _ in range(0, n, 32):
            one, two = largest(x, stride), largest(x + 64, stride)
            if broad:
                one = two = S.maximum(one, two)
            first = whole(x, stride, q, d, sums, starts, one, factors)
            second = whole(x + 64, stride, q + UNITS, d + 64, sums + 64, starts + 64, two, factors)
            S.store_f32(pairs, S.add(first, second))
            x, q, d, sums, pairs, starts = x + 128, q + 2 * UNITS, d + 128, sums + 128, pairs + 64, starts + 128

    return group
