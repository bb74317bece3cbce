"""Products by the tiles of AMX (Intel SDM volume 1, chapter 18): 16 tokens x 16 rows x 64 bytes in one instruction.

Tiles only form integer sums, which are exact; scaling and adding are the steps of `product.stretch` in its order, so the bits
are the same. A panel of weights is unpacked once and serves all tokens (`codes.unpack` draws its tiles). Knows no format.

Registers 0-3 hold sums, 6 activations (16 tokens x a unit of 32 columns), 7 weights. `isa.py` asks the system for permission.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from edgerun.backends.cpu.kernels import activations as A
from edgerun.backends.cpu.kernels import codes
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.simd import F32, i64, op
from edgerun.backends.cpu.kernels.tile import FLOAT, TileOps, broadcast

_I64, _BYTE, _VOID = ir.IntType(64), ir.IntType(8), ir.VoidType()
TILE, ACTIVATIONS, WEIGHTS = 1024, 6, 7
_SHAPES = bytes([1, 0, *[0] * 14, *[64, 0] * 8, *[0] * 16, *[16] * 8, *[0] * 8])
# palette, start row, reserved | bytes per row, u16 for each tile, 16 of them | rows, u8 for each tile

PANEL = 1024   # columns unpacked at a time where a unit takes one tile: 32 KiB
MOST = 512     # tokens of a chunk: their sums are kept between panels


@op(types.void)
def configure(b: Any) -> None:
    """Set the shapes of the tiles of this thread: all are 16 x 64 bytes."""
    with b.goto_entry_block():
        room = b.alloca(ir.ArrayType(_BYTE, 64))
        room.align = 64
    b.store(ir.Constant(ir.ArrayType(_BYTE, 64), bytearray(_SHAPES)), room)
    S.invoke(b, "llvm.x86.ldtilecfg", _VOID, b.bitcast(room, _BYTE.as_pointer()))


@op(types.void)
def release(b: Any) -> None:
    """Forget the tiles, so that switching to another thread need not save them."""
    S.invoke(b, "llvm.x86.tilerelease", _VOID)


def memory(b: Any, name: str, tile: int, at: Any) -> None:
    """Emitter: load or store a tile of contiguous rows."""
    S.invoke(b, f"llvm.x86.{name}", _VOID, _BYTE(tile), b.inttoptr(at, _BYTE.as_pointer()), _I64(64))


def _multiply(parts: int) -> Any:
    """Intrinsic (weights, activations, out): int32 [parts][16 tokens][16 rows], the sums of a unit."""

    @op(types.void, i64, i64, i64)
    def multiply(b: Any, w: Any, x: Any, out: Any) -> None:
        memory(b, "tileloadd64", ACTIVATIONS, x)
        for i in range(parts):
            memory(b, "tileloadd64", WEIGHTS, b.add(w, _I64(TILE * i)))
            S.invoke(b, "llvm.x86.tilezero", _VOID, _BYTE(i))
            S.invoke(b, "llvm.x86.tdpbsud", _VOID, _BYTE(i), _BYTE(ACTIVATIONS), _BYTE(WEIGHTS))
        for i in range(parts):
            memory(b, "tilestored64", i, b.add(out, _I64(TILE * i)))

    return multiply


def _combine(tile: TileOps, subs: int, wide: bool, has_offset: bool) -> Any:
    """Intrinsic (acc, sums, scales of activations, scales and offsets, sums of activations) -> acc with a unit added."""

    @op(tile.floats, tile.floats, i64, i64, i64, i64)
    def add(b: Any, acc: Any, c: Any, d: Any, f: Any, xs: Any) -> Any:
        for sub in range(subs):
            scale, offset = (S.load_at(b, b.add(f, _I64(128 * sub + at)), F32.ir) for at in (0, 64))
            for t in range(A.GROUP):
                parts = [S.load_at(b, b.add(c, _I64(TILE * (sub * (1 + wide) + i) + 64 * t)), S.I32.ir) for i in range(1 + wide)]
                total = b.sitofp(A.joined(b, *parts) if wide else parts[0], F32.ir)
                total = b.fmul(total, broadcast(b, b.add(d, _I64(A.GROUPED.floats * sub + 4 * t)), FLOAT, F32))
                v = S.fused(b, total, scale, b.extract_value(acc, t))
                if has_offset:
                    v = S.fused(b, offset, broadcast(b, b.add(xs, _I64(A.GROUPED.floats * sub + 4 * t)), FLOAT, F32), v)
                acc = b.insert_value(acc, v, t)
        return acc

    return add


def by_tiles(packing: Any, words: Any, writer: Any) -> Any:
    """Whole groups of tokens, first to last (at most MOST, from a multiple of 16 to another), with one row block."""
    tile = TileOps(A.GROUP)
    zero, load, store, write = tile.zero, tile.load, tile.store, writer(tile).write
    COLS, SUB, SUBS, SIZE = packing.cols, packing.sub, packing.subs, packing.size
    wide = codes.wide(packing)
    EACH, IN_UNIT = TILE * (1 + wide), 32 // SUB
    PARTS = IN_UNIT * (1 + wide)
    unpack, scale, offset = codes.unpack(packing), codes.scale(packing), codes.offset(packing)
    multiply = _multiply(PARTS)
    add = _combine(tile, IN_UNIT, wide, codes.has_offset(packing))
    BLOCKS = max(1, PANEL // PARTS // COLS)
    STEPS = BLOCKS * COLS // 32
    XQ, XD, XS = words
    UNITS, FLOATS, ROW, SUMS = A.GROUPED.units, A.GROUPED.floats, A.ROW, TILE * PARTS
    panel, factors, kept, results = S.scratch(SUMS * STEPS), S.scratch(128 * BLOCKS * SUBS), S.scratch(64 * MOST), S.scratch(2 * SUMS)

    @S.inner
    def run(args: int, p: int, blocks: int, row: int, first: int, last: int) -> None:
        w, f, sums, c = panel(), factors(), kept(), results()
        cols = blocks * COLS
        configure()
        for start in range(0, blocks, BLOCKS):
            now = min(BLOCKS, blocks - start)
            for k in range(now * SUBS):
                block, s = p + (start + k // SUBS) * SIZE, k % SUBS
                scaled = scale(block, s)
                unpack(block, s, w + EACH * k)
                S.store_f32(f + 128 * k, scaled)
                S.store_f32(f + 128 * k + 64, offset(block, s, scaled))
            steps, begin = now * COLS // 32, start * COLS // 32
            for t in range(first, last, 16):
                x = S.word(args, XQ) + t * cols * ROW + UNITS * begin
                d = S.word(args, XD) + t * (cols // 4) + 2 * FLOATS * begin
                xs = S.word(args, XS) + t * (cols // SUB * 4) + IN_UNIT * FLOATS * begin
                acc = zero()
                if start:
                    acc = load(sums + 64 * (t - first), 64)
                multiply(w, x, c)
                for k in range(1, steps):
                    multiply(w + SUMS * k, x + UNITS * k, c + SUMS * (k & 1))
                    acc = add(acc, c + SUMS * (k - 1 & 1), d, f + 128 * IN_UNIT * (k - 1), xs)
                    d += 2 * FLOATS
                    xs += IN_UNIT * FLOATS
                acc = add(acc, c + SUMS * (steps - 1 & 1), d, f + 128 * IN_UNIT * (steps - 1), xs)
                if start + BLOCKS >= blocks:
                    write(args, row, t, acc)
                else:
                    store(sums + 64 * (t - first), 64, acc)
        release()

    return run
