"""`superblock.py` by the tiles of AMX: 16 tokens x 16 rows x 256 columns in whole numbers. Knows no format.

A panel holds weights times the scales of their sub-blocks, p = 128 * high + low, as tiles of 64 columns; where p fits a byte,
there is but one. So nothing is scaled until 256 columns are summed. Tile instructions and the vectors that finish the block
before are mixed, as neither keeps the core busy.

Registers 0-3 hold sums of (high, low) x (high, low), 4 and 5 activations, 6 and 7 weights.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from edgerun.backends.cpu.kernels import amx, codes
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels import superblock as B
from edgerun.backends.cpu.kernels.amx import TILE
from edgerun.backends.cpu.kernels.simd import F32, I32, U8, i64, op
from edgerun.backends.cpu.kernels.tile import FLOAT, TileOps, broadcast
from edgerun.formats.packing import Packing

_I64, _BYTE, _VOID = ir.IntType(64), ir.IntType(8), ir.VoidType()
_WORDS = ir.VectorType(ir.IntType(16), 32)
WEIGHT_BITS = 7         # of the low part of a weight
FACTORS = 64 * (2 + 8)   # bytes for a block: its scales, what minima are multiplied with, and pairs for the sums, at most 8
PANEL = 512            # columns unpacked at a time
GROUP = 16


def planes(packing: Packing) -> int:
    """Bytes that a weight times a scale takes."""
    return 1 if max(map(abs, packing.levels)) * packing.scale_most < 128 else 2


def _half(b: Any, v: Any, upper: bool, fill: Any) -> Any:
    """Bytes 0-7 (or 8-15) of each 16, each followed by one of `fill`, as 16-bit numbers."""
    lanes = [16 * (i // 16) + i % 16 // 2 + 8 * upper + 64 * (i % 2) for i in range(64)]
    return b.bitcast(b.shuffle_vector(v, fill, ir.Constant(ir.VectorType(ir.IntType(32), 64), lanes)), _WORDS)


def _repeated(b: Any, scale: Any, upper: bool) -> Any:
    """A scale for each number of `_half`: four columns of two rows in each lane of 16 bytes."""
    words = b.trunc(scale, ir.VectorType(ir.IntType(16), 16))
    return S.pick(b, words, [4 * (i // 8) + 2 * upper + i % 8 // 4 for i in range(32)])


def unpack(packing: Packing) -> Any:
    """Intrinsic (p, unit, out): write the tiles' rows for 32 columns: 8 of them, half a tile for each plane."""
    both, shift = planes(packing) == 2, S.constant(_WORDS, WEIGHT_BITS)
    signed = packing.offset == "bias" and packing.bias != 0

    @op(types.void, i64, i64, i64)
    def of_unit(b: Any, p: Any, unit: Any, out: Any) -> None:
        zeros, each = S.constant(U8.ir, 0), 32 // packing.sub
        for k in range(each):
            s = b.add(b.mul(unit, _I64(each)), _I64(k))
            scale = B.scales_of(b, packing, p, s)
            factors = [None if scale is None else _repeated(b, scale, upper) for upper in (False, True)]
            for group, v in enumerate(codes.unsigned(b, packing, p, s)):
                products = []
                for upper, factor in zip((False, True), factors, strict=True):
                    words = _half(b, v, upper, zeros)
                    if signed:
                        words = b.sub(words, S.constant(_WORDS, packing.bias))
                    products.append(words if factor is None else b.mul(words, factor))
                at = b.add(out, _I64(64 * (group + 8 // each * k)))
                if both:
                    S.store_at(b, at, S.invoke(b, "llvm.x86.avx512.packsswb.512", U8.ir, *(b.ashr(v, shift) for v in products)))
                    at = b.add(at, _I64(TILE))
                    products = [b.and_(v, S.constant(_WORDS, (1 << WEIGHT_BITS) - 1)) for v in products]
                S.store_at(b, at, S.invoke(b, "llvm.x86.avx512.packsswb.512", U8.ir, *products))

    return of_unit


def _factors(packing: Packing) -> Any:
    """Intrinsic (p, out): write what finishes a block."""

    @op(types.void, i64, i64)
    def of_block(b: Any, p: Any, out: Any) -> None:
        S.store_at(b, out, B.top_of(b, packing, p))
        if B.has_minima(packing):
            S.store_at(b, b.add(out, _I64(64)), B.least_of(b, packing, p))
            for pair in range(packing.subs // 2):
                S.store_at(b, b.add(out, _I64(64 * (2 + pair))), B.pairs_of(b, packing, p, _I64(pair)))

    return of_block


def _products(b: Any, parts: int, w: Any, x: Any, k: int) -> None:
    """64 columns: all sums of the two halves of activations and the parts of weights."""
    for i in range(2):
        amx.memory(b, "tileloadd64", 4 + i, b.add(x, _I64(TILE * (2 * k + i))))
    for j in range(parts):
        amx.memory(b, "tileloadd64", 6 + j, b.add(w, _I64(TILE * (parts * k + j))))
        for i in range(2):
            S.invoke(b, "llvm.x86.tdpbssd", _VOID, _BYTE(2 * j + i), _BYTE(4 + i), _BYTE(6 + j))


def _begin(b: Any, parts: int) -> None:
    for i in range(2 * parts):
        S.invoke(b, "llvm.x86.tilezero", _VOID, _BYTE(i))


def _end(b: Any, parts: int, out: Any) -> None:
    for i in range(2 * parts):
        amx.memory(b, "tilestored64", i, b.add(out, _I64(TILE * i)))


def _finish(b: Any, packing: Packing, acc: Any, t: int, c: Any, d: Any, f: Any, xs: Any) -> Any:
    """acc[t] plus a block, from the sums of its parts at c."""
    parts = [S.load_at(b, b.add(c, _I64(TILE * i + 64 * t)), I32.ir) for i in range(2 * planes(packing))]
    halves = [b.add(b.shl(parts[i], S.constant(I32.ir, B.LOW_BITS)), parts[i + 1]) for i in range(0, len(parts), 2)]
    whole = halves[-1] if len(halves) == 1 else b.add(b.shl(halves[0], S.constant(I32.ir, WEIGHT_BITS)), halves[1])
    step, top, offset, least = broadcast(b, b.add(d, _I64(4 * t)), FLOAT, F32), S.load_at(b, f, F32.ir), None, None
    if B.has_minima(packing):
        offset, least = S.constant(I32.ir, 0), S.load_at(b, b.add(f, _I64(64)), F32.ir)
        for pair in range(packing.subs // 2):
            pairs = S.load_at(b, b.add(f, _I64(64 * (2 + pair))), I32.ir)
            offset = B.word_dots(b, offset, pairs, b.add(xs, _I64(4 * GROUP * pair + 4 * t)))
    return b.insert_value(acc, B.added(b, b.extract_value(acc, t), whole, offset, step, top, least), t)


def _first(packing: Packing) -> Any:
    """Intrinsic (weights, activations, out): the sums of a block."""
    parts = planes(packing)

    @op(types.void, i64, i64, i64)
    def multiply(b: Any, w: Any, x: Any, out: Any) -> None:
        _begin(b, parts)
        for k in range(4):
            _products(b, parts, w, x, k)
        _end(b, parts, out)

    return multiply


def _last(packing: Packing, tile: TileOps) -> Any:
    """Intrinsic (acc, (sums, steps, factors, sums of activations) at c) -> acc with a block added."""

    @op(tile.floats, tile.floats, i64, i64, i64, i64)
    def add(b: Any, acc: Any, c: Any, d: Any, f: Any, xs: Any) -> Any:
        for t in range(GROUP):
            acc = _finish(b, packing, acc, t, c, d, f, xs)
        return acc

    return add


def _both(packing: Packing, tile: TileOps) -> Any:
    """Intrinsic (acc, weights, activations, out, and as for `_last`) -> `_first` of a block mixed with `_last` of the one before."""
    parts = planes(packing)

    @op(tile.floats, tile.floats, *[i64] * 7)
    def step(b: Any, acc: Any, w: Any, x: Any, out: Any, c: Any, d: Any, f: Any, xs: Any) -> Any:
        _begin(b, parts)
        for k in range(4):
            _products(b, parts, w, x, k)
            for t in range(4 * k, 4 * k + 4):
                acc = _finish(b, packing, acc, t, c, d, f, xs)
        _end(b, parts, out)
        return acc

    return step


def by_tiles(packing: Any, words: Any, writer: Any) -> Any:
    """Whole groups of tokens, first to last (at most amx.MOST, from a multiple of 16 to another), with one row block."""
    tile = TileOps(GROUP)
    zero, load, store, write = tile.zero, tile.load, tile.store, writer(tile).write
    SIZE, BLOCKS = packing.size, PANEL // 256
    fill, factors_of, first_of = unpack(packing), _factors(packing), _first(packing)
    add, both = _last(packing, tile), _both(packing, tile)
    WEIGHTS, SUMS = 4 * TILE * planes(packing), 2 * TILE * planes(packing)
    XQ, XD, XS = words
    panel, factors, kept, results = S.scratch(WEIGHTS * BLOCKS), S.scratch(FACTORS * BLOCKS), S.scratch(64 * amx.MOST), S.scratch(2 * SUMS)

    HALF, LINES, PAIRS = TILE // 2, -(-BLOCKS * SIZE // 64), packing.subs // 2

    @S.inner
    def prepare(p: int, now: int, w: int, f: int) -> None:
        """The panel of so many blocks from p on."""
        for k in range(now):
            factors_of(p + k * SIZE, f + FACTORS * k)
            for u in range(8):
                fill(p + k * SIZE, u, w + WEIGHTS * k + (u >> 1) * (WEIGHTS // 4) + (u & 1) * HALF)

    @S.inner
    def run(args: int, p: int, blocks: int, row: int, first: int, last: int) -> None:
        w, f, sums, c = panel(), factors(), kept(), results()
        ahead = (LINES * 16 + last - first - 1) // (last - first)   # lines of the next panel to be asked for with each group
        amx.configure()
        for start in range(0, blocks, BLOCKS):
            now = min(BLOCKS, blocks - start)
            prepare(p + start * SIZE, now, w, f)
            acc, n, next_panel = zero(), 0, p + (start + now) * SIZE
            if start:
                acc = load(sums, 64)
            old_d = old_f = old_xs = 0
            for t in range(first, last, 16):
                x = S.word(args, XQ) + (t * blocks + 16 * start) * 512
                d = S.word(args, XD) + (t * blocks + 16 * start) * 4
                xs = S.word(args, XS) + (t * blocks + 16 * start) * (4 * PAIRS)
                for line in range(ahead):
                    S.prefetch_later(next_panel + 64 * line)
                next_panel += 64 * ahead
                for k in range(now):
                    if n == 0:
                        first_of(w, x, c)
                    else:
                        acc = both(acc, w + WEIGHTS * k, x + 8192 * k, c + SUMS * (n & 1), c + SUMS * (n - 1 & 1), old_d, old_f, old_xs)
                        if k == 0:
                            done = sums + 64 * (t - 16 - first)
                            if start + BLOCKS >= blocks:
                                write(args, row, t - 16, acc)
                            else:
                                store(done, 64, acc)
                            acc = load(done + 1024, 64) if start else zero()
                    old_d, old_f, old_xs, n = d + 64 * k, f + FACTORS * k, xs + 64 * PAIRS * k, n + 1
            acc = add(acc, c + SUMS * (n - 1 & 1), old_d, old_f, old_xs)
            if start + BLOCKS >= blocks:
                write(args, row, last - 16, acc)
            else:
                store(sums + 64 * (last - 16 - first), 64, acc)
        amx.release()

    return run
