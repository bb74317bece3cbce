"""Products of formats whose sub-blocks have whole numbers for scales, in whole numbers over 256 columns. For machines with AMX.

Activations are whole numbers of 11 bits with one scale for 256 columns, so that a sub-block's scale and offset are multiplied
in exactly, and floats come in once for 256 columns:

    q      |q| <= 1023, q = 8 * high + low; a unit is 64 columns: [64] high, int8, [64] low, 0..7
    sums   of 16 and of 32 columns, int16

Rows in groups of 16 lie as `activations.py` says of units, of which a group has its 16 high parts and then its 16 low ones:

    units  [rows/16][cols/64][2][16 rows][64]
    scales [rows/16][cols/256][16 rows]      float32
    sums   [rows/16][cols/2sub][16 rows]     two int16; sub is 16 or 32

and rows beyond the last whole group each by itself. Sums that do not fit 32 bits on the way wrap, and are right in the end.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from edgerun.backends.cpu.kernels import activations as A
from edgerun.backends.cpu.kernels import codes, dot, scaling
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.simd import F32, I32, Tile, i64, op
from edgerun.backends.cpu.kernels.tile import FLOAT, INT, TileOps, address, broadcast
from edgerun.formats.packing import Packing

_I64, _BYTES16 = ir.IntType(64), ir.VectorType(ir.IntType(8), 16)
LOW_BITS, LARGEST = 3, 1023
UNIT = 128              # bytes of 64 columns
SCALED = 256            # columns that share a scale
NEAR_BYTES = 1400 << 10   # as in `product.py`: there are fewer scales beside the codes, and unpacking a panel costs more


def bytes_at(b: Any, at: Any, signed: bool) -> Any:
    """Emitter: the 16 bytes of a sub-block, as int32."""
    v = S.load_at(b, at, _BYTES16)
    return b.sext(v, I32.ir) if signed else b.zext(v, I32.ir)


def scales_of(b: Any, packing: Packing, p: Any, s: Any) -> Any:
    """Emitter: the scales of sub-block s as int32, None where there are none."""
    if not packing.scaled:
        return None
    return bytes_at(b, b.add(b.add(p, _I64(packing.scales_at)), b.mul(s, _I64(16))), packing.scale == "f16*s8")


def pairs_of(b: Any, packing: Packing, p: Any, pair: Any) -> Any:
    """Emitter: what the sums of two sub-blocks are multiplied with, two int16 for each row: minima, or scales to be multiplied by the bias."""
    if packing.offset == "f16*u8":
        start, signed = packing.mins_at, False
    elif packing.scaled:
        start, signed = packing.scales_at, packing.scale == "f16*s8"
    else:
        return S.constant(I32.ir, 0x10001)
    at = b.add(b.add(p, _I64(start)), b.mul(pair, _I64(32)))
    first, second = bytes_at(b, at, signed), bytes_at(b, b.add(at, _I64(16)), signed)
    return b.or_(b.and_(first, S.constant(I32.ir, 0xFFFF)), b.shl(second, S.constant(I32.ir, 16)))


def top_of(b: Any, packing: Packing, p: Any) -> Any:
    """Emitter: the scale of the block."""
    d = S.widen_emit(b, S.load_at(b, p, S.F16.ir))
    return d if packing.unit == 1 else b.fmul(d, S.constant(F32.ir, packing.unit))


def least_of(b: Any, packing: Packing, p: Any) -> Any:
    """Emitter: what the minima are multiplied with, negative."""
    return b.fneg(S.widen_emit(b, S.load_at(b, b.add(p, _I64(packing.m_at)), S.F16.ir)))


def word_dots(b: Any, acc: Any, pairs: Any, at: Any) -> Any:
    """Emitter: acc plus the products of pairs with the two sums at an address."""
    return S.invoke(b, "llvm.x86.avx512.vpdpwssd.512", I32.ir, acc, pairs, broadcast(b, at, INT, I32))


def added(b: Any, acc: Any, whole: Any, offset: Any, step: Any, top: Any, least: Any) -> Any:
    """Emitter: acc plus 256 columns, from their sums in whole numbers. The only place where these become floats.

    offset and least: None where there are no minima.
    """
    acc = S.fused(b, b.fmul(b.sitofp(whole, F32.ir), step), top, acc)
    return acc if least is None else S.fused(b, b.fmul(b.sitofp(offset, F32.ir), step), least, acc)


def has_minima(packing: Packing) -> bool:
    """Whether offsets have a scale of their own."""
    return packing.offset == "f16*u8"


def _unit(packing: Packing, tile: TileOps) -> Any:
    """Intrinsic (wholes, p, unit, x, stride) -> wholes plus the scaled dots of 64 columns with the activations at x."""
    wholes = Tile(I32, tile.count)

    @op(wholes, wholes, i64, i64, i64, i64)
    def add(b: Any, acc: Any, p: Any, unit: Any, x: Any, stride: Any) -> Any:
        each = 64 // packing.sub
        turn = scaling.asking(b, packing, p, unit, 4, 8).turn
        for k in range(each):
            s = b.add(b.mul(unit, _I64(each)), _I64(k))
            groups, scale = list(codes.unsigned(b, packing, p, s)), scales_of(b, packing, p, s)
            for t in range(tile.count):
                at = b.add(address(b, x, stride, t), _I64(packing.sub * k))
                high, low = (dot.dots(b, groups, b.add(at, _I64(half)), None if t else turn) for half in (0, 64))
                total = b.add(b.shl(high, S.constant(I32.ir, LOW_BITS)), low)
                acc = b.insert_value(acc, b.add(b.extract_value(acc, t), total if scale is None else b.mul(total, scale)), t)
        return acc

    return add


def _offset(packing: Packing, tile: TileOps) -> Any:
    """Intrinsic (offsets, p, pair, sums, stride) -> offsets plus those of two sub-blocks."""
    wholes = Tile(I32, tile.count)

    @op(wholes, wholes, i64, i64, i64, i64)
    def add(b: Any, acc: Any, p: Any, pair: Any, xs: Any, stride: Any) -> Any:
        pairs = pairs_of(b, packing, p, pair)
        for t in range(tile.count):
            acc = b.insert_value(acc, word_dots(b, b.extract_value(acc, t), pairs, address(b, xs, stride, t)), t)
        return acc

    return add


def _block(packing: Packing, tile: TileOps) -> Any:
    """Intrinsic (acc, wholes, offsets, p, steps, stride) -> acc with the block at p added."""
    wholes = Tile(I32, tile.count)

    @op(tile.floats, tile.floats, wholes, wholes, i64, i64, i64)
    def add(b: Any, acc: Any, whole: Any, offset: Any, p: Any, d: Any, stride: Any) -> Any:
        top, least = top_of(b, packing, p), least_of(b, packing, p) if has_minima(packing) else None
        for t in range(tile.count):
            step = broadcast(b, address(b, d, stride, t), FLOAT, F32)
            total, more = b.extract_value(whole, t), b.extract_value(offset, t)
            if least is None and packing.bias:
                total = b.sub(total, b.mul(more, S.constant(I32.ir, packing.bias)))
            acc = b.insert_value(acc, added(b, b.extract_value(acc, t), total, more, step, top, least), t)
        return acc

    return add


def stretch(packing: Packing, T: int) -> Any:
    """Sums of one row block for T tokens whose activations lie each by itself."""
    tile = TileOps(T)
    wholes = Tile(I32, T)
    zero, unit, offset, block = tile.zero, _unit(packing, tile), _offset(packing, tile), _block(packing, tile)
    SIZE, HAS_OFFSET, PAIRS = packing.size, codes.has_offset(packing), packing.subs // 2

    @op(wholes)
    def none(b: Any) -> Any:
        return ir.Constant(wholes.ir, [[0] * 16] * T)

    @S.inner
    def sums(p: int, blocks: int, xq: int, xd: int, xs: int) -> Any:
        q_stride, d_stride, s_stride = 512 * blocks, 4 * blocks, 4 * PAIRS * blocks
        acc = zero()
        for _ in range(blocks):
            whole, offsets = none(), none()
            for u in range(4):
                whole = unit(whole, p, u, S.one_register(xq + u * UNIT), q_stride)
            if HAS_OFFSET:
                for pair in range(PAIRS):
                    offsets = offset(offsets, p, pair, xs + 4 * pair, s_stride)
            acc = block(acc, whole, offsets, p, xd, d_stride)
            p, xq, xd, xs = p + SIZE, xq + 4 * UNIT, xd + 4, xs + 4 * PAIRS
        return acc

    return sums


def quantizer() -> Any:
    """q = round(x / d), d = max |x| / 1023 over 256 columns, and the sums, as drawn above."""
    GROUP, TILE = A.GROUP, 64 * A.GROUP
    high, low = A.halves(LOW_BITS)

    @S.inner
    def largest(x: int) -> float:
        top = S.absolute(S.load_f32(x))
        for i in range(1, 16):
            top = S.maximum(top, S.absolute(S.load_f32(x + 64 * i)))
        return S.max_lanes(top)

    @S.inner
    def sixteen(x: int, q: int, low_at: int, scale: Any) -> int:
        v = S.to_i32(S.mul(S.load_f32(x), scale))
        S.store_i8(q, high(v))
        S.store_i8(q + low_at, low(v))
        return S.sum_i32_lanes(v)

    @S.inner
    def both(one: int, two: int) -> int:
        """Two int16 in a word."""
        return one & 0xFFFF | two << 16

    @S.inner
    def run(x: int, n: int, q: int, d: int, sums: int, pairs: int, unit: int, low_at: int, words: int) -> None:
        for _ in range(0, n, 256):
            top = largest(x)
            scale = S.splat(S.f32(LARGEST) / top if top > 0.0 else S.f32(0.0))
            S.poke_f32(d, top / S.f32(LARGEST))
            d += words
            for _ in range(4):
                one, two = sixteen(x, q, low_at, scale), sixteen(x + 64, q + 16, low_at, scale)
                three, four = sixteen(x + 128, q + 32, low_at, scale), sixteen(x + 192, q + 48, low_at, scale)
                S.poke_i32(sums, both(one, two))
                S.poke_i32(sums + words, both(three, four))
                S.poke_i32(pairs, both(one + two, three + four))
                x, q, sums, pairs = x + 256, q + unit, sums + 2 * words, pairs + words

    @S.inner
    def place(x: int, n: int, q: int, d: int, sums: int, pairs: int, starts: int, row: int, rows: int) -> None:
        group, member = row // GROUP * GROUP, row % GROUP
        if group + GROUP <= rows:
            q, d = q + 2 * group * n + 64 * member, d + group * (n // 64) + 4 * member
            sums, pairs = sums + group * (n // 8) + 4 * member, pairs + group * (n // 16) + 4 * member
            run(x, n, q, d, sums, pairs, 2 * TILE, TILE, 4 * GROUP)
        else:
            run(x, n, q + 2 * row * n, d + row * (n // 64), sums + row * (n // 8), pairs + row * (n // 16), UNIT, 64, 4)

    return place
