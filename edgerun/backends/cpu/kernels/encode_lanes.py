"""What the encoders share: blocks as lanes, and arithmetic that gives the bits that NumPy gives in `edgerun/formats`. Knows no format.

Sixteen blocks are encoded at a time, a lane each, so that no sum ever crosses lanes: block min(first + i, count - 1) is lane i. No
multiplication is fused with an addition and sums go in the order of the weights, as they do in NumPy: the two may take turns. A
comparison with NaN is false, and what is bounded stays NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.simd import F16, F32, I32, i64, op

# What all of them read: float32 [blocks][size], and how much the error of each column counts (0: see `_own_weights`).
X, SIZE, SUB, WEIGHTS, PER_ROW, CODES, HEADS, OWN = range(8)   # OWN: where each kernel's own words begin
LARGEST = 256   # weights of a block
_MAGIC = 12582912.0   # 1.5 * 2^23: adding it leaves no fraction
_table = S.scratch(8 * 16)
_BYTES = ir.VectorType(ir.IntType(8), 16)


def _transposed(b: Any, rows: list[Any]) -> list[Any]:
    """Emitter: 16 vectors of 16 lanes, lanes becoming vectors."""
    step = 8
    while step:
        first = [i if not i & step else 16 + i - step for i in range(16)]
        second = [i + step if not i & step else 16 + i for i in range(16)]
        for i in range(16):
            if not i & step:
                one, other = rows[i], rows[i + step]
                rows[i], rows[i + step] = (b.shuffle_vector(one, other, ir.Constant(I32.ir, lanes)) for lanes in (first, second))
        step //= 2
    return rows


def _addresses(b: Any, table: Any, offset: Any) -> list[Any]:
    return [b.add(S.load_at(b, b.add(table, table.type(8 * i)), table.type), offset) for i in range(16)]


@op(types.void, i64, i64, i64)
def _gather(b: Any, table: Any, offset: Any, out: Any) -> None:
    """16 floats from each of 16 addresses + offset, to 16 vectors of which lane i is from address i."""
    rows = [S.load_at(b, address, F32.ir) for address in _addresses(b, table, offset)]
    for i, row in enumerate(_transposed(b, rows)):
        S.store_at(b, b.add(out, out.type(64 * i)), row)


@op(types.void, i64, i64, i64)
def _scatter(b: Any, table: Any, offset: Any, source: Any) -> None:
    """16 vectors of whole floats to bytes, 16 of which go to each of 16 addresses + offset."""
    vectors = [S.load_at(b, b.add(source, source.type(64 * i)), F32.ir) for i in range(16)]
    rows = _transposed(b, [b.trunc(b.fptosi(v, I32.ir), _BYTES) for v in vectors])
    for address, row in zip(_addresses(b, table, offset), rows, strict=True):
        S.store_at(b, address, row)


@S.inner
def _lanes(base: int, first: int, count: int, nbytes: int, wrap: int) -> int:
    """The address of each lane's block, `nbytes` each; they begin anew after `wrap` of them."""
    table = _table()
    for i in range(16):
        S.poke(table + 8 * i, base + nbytes * (min(first + i, count - 1) % wrap))
    return table


@S.inner
def load(args: int, first: int, count: int, x: int) -> None:
    """Lay 16 blocks at x, [size][16]."""
    size = S.word(args, SIZE)
    table = _lanes(S.word(args, X), first, count, 4 * size, count)
    for j in range(0, size, 16):
        _gather(table, 4 * j, x + 64 * j)


@S.inner
def weigh(args: int, first: int, count: int, x: int, w: int) -> None:
    """Lay the weights of their errors at w, [size][16]."""
    size, sub = S.word(args, SIZE), S.word(args, SUB)
    if S.word(args, WEIGHTS):
        table = _lanes(S.word(args, WEIGHTS), first, count, 4 * size, S.word(args, PER_ROW))
        for j in range(0, size, 16):
            _gather(table, 4 * j, w + 64 * j)
        return
    for s in range(0, size, sub):
        squares = S.zero()
        for j in range(s, s + sub):
            v = S.load_f32(x + 64 * j)
            squares = S.add(squares, S.mul(v, v))
        root = sqrt(S.div(squares, S.splat(S.f32(sub))))
        for j in range(s, s + sub):
            S.store_f32(w + 64 * j, S.add(root, S.absolute(S.load_f32(x + 64 * j))))


@S.inner
def store(args: int, first: int, count: int, codes: int) -> None:
    """Codes, whole floats [size][16], to their bytes; they may lie where they came from."""
    size = S.word(args, SIZE)
    table = _lanes(S.word(args, CODES), first, count, size, count)
    for j in range(0, size, 16):
        _scatter(table, j, codes + 64 * j)


@op(F32, F32)
def sqrt(b: Any, v: Any) -> Any:
    """Square roots."""
    return S.invoke(b, "llvm.sqrt.v16f32", F32.ir, v)


@op(F32, F32, F32, F32, F32)
def below(b: Any, x: Any, y: Any, one: Any, other: Any) -> Any:
    """One where x < y, else the other."""
    return b.select(b.fcmp_ordered("<", x, y), one, other)


@op(F32, F32, F32, F32)
def bounded(b: Any, v: Any, low: Any, high: Any) -> Any:
    """v, not less than low and not more than high."""
    v = b.select(b.fcmp_ordered("<", v, low), low, v)
    return b.select(b.fcmp_ordered(">", v, high), high, v)


@op(F32, F32)
def whole(b: Any, v: Any) -> Any:
    """The nearest whole number, to even; |v| is below 2^22."""
    magic = S.constant(F32.ir, _MAGIC)
    return b.fsub(b.fadd(v, magic), magic)


@op(F32, F32)
def truncated(b: Any, v: Any) -> Any:
    """v without its fraction; |v| is below 2^31."""
    return b.sitofp(b.fptosi(v, I32.ir), F32.ir)


@op(F32, F32)
def inverse(b: Any, v: Any) -> Any:
    """1 / v, and 0 where that is infinite."""
    y = b.fdiv(S.constant(F32.ir, 1.0), v)
    infinite = b.fcmp_ordered("==", S.invoke(b, "llvm.fabs.v16f32", F32.ir, y), S.constant(F32.ir, float("inf")))
    return b.select(infinite, S.constant(F32.ir, 0.0), y)


@op(F32, F16)
def widened(b: Any, v: Any) -> Any:
    """16 halves as floats."""
    return S.widen_emit(b, v)


@op(F16, F16, F32, F32)
def _longer(b: Any, h: Any, x: Any, y: Any) -> Any:
    """Halves, those a step longer where x < y."""
    return b.select(b.fcmp_ordered("<", x, y), b.add(h, S.constant(F16.ir, 1)), h)


@S.inner
def half(v: Any) -> Any:
    """`half` of `formats/superblock.py`."""
    h = S.narrow(v)
    return widened(_longer(h, S.absolute(widened(h)), S.mul(S.absolute(v), S.splat(S.f32(0.999)))))


def kernel(blocks: Callable, fixed: int, each: int) -> Callable:
    """The kernel that encodes `count` blocks. blocks: an inner function (args, first, count, heads) that does sixteen of them, whose heads are
    `fixed` vectors, and `each` of each sub-block.
    """

    def encode(args: int, count: int) -> None:
        heads, step = S.word(args, HEADS), 64 * (fixed + each * S.quotient(S.word(args, SIZE), S.word(args, SUB)))
        for first in range(0, count, 16):
            blocks(args, first, count, heads)
            heads += step

    return encode
