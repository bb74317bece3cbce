"""Dot products of a format with quantized activations, scaled: of a sub-block, or of a unit of 32 columns. Knows no format by name.

Sums of the columns of one scale are whole numbers and exact; then they are scaled and added as floats.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from edgerun.backends.cpu.kernels import activations as A
from edgerun.backends.cpu.kernels import codes, dot, prefetch
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.simd import F32, I32, i64, op
from edgerun.backends.cpu.kernels.tile import FLOAT, INT, TileOps, address, broadcast
from edgerun.formats.packing import Packing

_I64 = ir.IntType(64)


def of_sub_block(packing: Packing, tile: TileOps, layout: A.Layout) -> Any:
    """Intrinsic (p, s, x, stride, d, d_stride, start) -> for each token the dots of 16 rows with its activations at x, whose scales
    are at d, and whose starts, if any, lie alike; the scale of the weights comes later.
    """
    return (_split_dots if A.SPLIT else _byte_dots)(packing, tile, layout)


def asking(b: Any, packing: Packing, p: Any, part: Any, parts: int, turns: int) -> prefetch.Asking:
    """Asks for what is read later than a part (of so many) of the block at p."""
    step = packing.size // parts
    return prefetch.Asking(b, b.add(p, b.mul(part, _I64(step))), step, turns, prefetch.order(packing.bits, packing.sub))


def _split_dots(packing: Packing, tile: TileOps, layout: A.Layout) -> Any:
    @op(tile.floats, i64, i64, i64, i64, i64, i64, i64)
    def sub_block(b: Any, p: Any, s: Any, x: Any, stride: Any, d: Any, d_stride: Any, start: Any) -> Any:
        groups = list(codes.unsigned(b, packing, p, s))
        turn = asking(b, packing, p, s, packing.subs, 2 * packing.sub // 16).turn
        result = ir.Constant(tile.floats.ir, ir.Undefined)
        for t in range(tile.count):
            at, step = address(b, x, stride, t), broadcast(b, address(b, d, d_stride, t), FLOAT, F32)
            high, low = (dot.dots(b, groups, b.add(at, _I64(half)), None if t else turn) for half in (0, 32))
            total = b.sitofp(A.joined(b, high, low), F32.ir)
            result = b.insert_value(result, b.fmul(total, step), t)
        return result

    return sub_block


def _byte_dots(packing: Packing, tile: TileOps, layout: A.Layout) -> Any:
    bits, leaning = codes.largest(packing).bit_length(), codes.lean(packing) is not None

    @op(tile.floats, i64, i64, i64, i64, i64, i64, i64)
    def sub_block(b: Any, p: Any, s: Any, x: Any, stride: Any, d: Any, d_stride: Any, start: Any) -> Any:
        totals: list[Any] = [None] * tile.count
        groups = list(codes.unsigned(b, packing, p, s))
        ahead = None if layout.grouped else asking(b, packing, p, s, packing.subs, packing.sub // 16)   # of many tokens, all but the first find them in the cache
        for i in range(0, len(groups), 4):
            if ahead:
                ahead.turn()
            here, scales = b.add(x, _I64(layout.units * (i // 4))), b.add(d, _I64(layout.floats * (i // 4)))
            for t in range(tile.count):
                first = [broadcast(b, address(b, b.add(start, _I64(layout.floats * (i // 4))), d_stride, t), INT, I32)] if leaning else []
                part = b.sitofp(dot.dot16(b, groups[i : i + 4], address(b, here, stride, t), bits, *first), F32.ir)
                step = broadcast(b, address(b, scales, d_stride, t), FLOAT, F32)
                totals[t] = b.fmul(part, step) if totals[t] is None else S.fused(b, part, step, totals[t])
        result = ir.Constant(tile.floats.ir, ir.Undefined)
        for t, total in enumerate(totals):
            result = b.insert_value(result, total, t)
        return result

    return sub_block


def of_unit(packing: Packing, tile: TileOps, layout: A.Layout) -> Any:
    """Intrinsic (acc, p, u, x, stride, d, d_stride, start) -> acc plus unit u of 32 columns, whose activations at x share the scale at d.

    What `of_sub_block` and `codes.scale` do, with one product of floats less.
    """
    bits, leaning, each = codes.largest(packing).bit_length(), codes.lean(packing) is not None, 32 // packing.sub

    @op(tile.floats, tile.floats, i64, i64, i64, i64, i64, i64, i64)
    def columns(b: Any, acc: Any, p: Any, u: Any, x: Any, stride: Any, d: Any, d_stride: Any, start: Any) -> Any:
        ahead = None if layout.grouped else asking(b, packing, p, u, packing.cols // 32, 2)
        totals: list[Any] = [None] * tile.count
        for k in range(each):
            s = b.add(b.mul(u, _I64(each)), _I64(k))
            groups, scaled = list(codes.unsigned(b, packing, p, s)), codes.scale_of(b, packing, p, s)
            sums: list[Any] = [S.constant(I32.ir, 0)] * tile.count
            for i in range(0, len(groups), 4):
                if ahead:
                    ahead.turn()
                part = packing.sub * k // 16 + i // 4
                for t in range(tile.count):
                    first = broadcast(b, address(b, b.add(start, _I64(layout.floats * part)), d_stride, t), INT, I32) if leaning else None
                    if first and not i:
                        sums[t], first = first, None
                    sums[t] = dot.dot16(b, groups[i : i + 4], address(b, b.add(x, _I64(layout.units * part)), stride, t), bits, sums[t])
                    if first:
                        sums[t] = b.add(sums[t], first)
            for t in range(tile.count):
                v = b.sitofp(sums[t], F32.ir)
                if each > 1:
                    totals[t] = b.fmul(v, scaled) if totals[t] is None else S.fused(b, v, scaled, totals[t])
                else:
                    totals[t] = v
        for t in range(tile.count):
            step, before = broadcast(b, address(b, d, d_stride, t), FLOAT, F32), b.extract_value(acc, t)
            after = S.fused(b, totals[t], step, before) if each > 1 else S.fused(b, b.fmul(totals[t], step), scaled, before)
            acc = b.insert_value(acc, after, t)
        return acc

    return columns
