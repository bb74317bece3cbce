"""Attention over pages of key/value memory, as in flash attention (arXiv:2205.14135): softmax page by page, in the order of
the positions, so that a query's result has the same bits in any tile, chunk or batch.

A page holds, for each key/value head, keys as [position / 16][dimension][16] (a lane is a position: no horizontal sums) and
values as [position][dimension]. Queries that share a head go together, 8 in a tile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgerun.backends.cpu.kernels import frame as F
from edgerun.backends.cpu.kernels import functions as M
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.tile import TileOps
from edgerun.backends.executor import PAGE

# The argument block, in 8-byte words. VALUE is the width of a value head, ROOM the same rounded up to 16.
K, V, Q, Q_STRIDE, OUT, OUT_STRIDE, HEADS, KV_HEADS, KEY, VALUE, ROOM, SCALE, WINDOW, SOFTCAP, SINKS, FRAME = range(16)
MASKED, LOWEST = -3e38, -1e30
STEP = 4 * (F.MAX_HEAD + 16)   # bytes from query to query in scratch: a constant, and no power of two, which would share cache sets
LOAD = {"f16": (2, lambda: S.load_half), "f32": (4, lambda: S.load_f32)}


@S.inner
def copy_scaled(target: int, source: int, width: int, factor: float) -> None:
    """target = source * factor, floats."""
    f, i = S.splat(factor), 0
    while i + 16 <= width:
        S.store_f32(target + 4 * i, S.mul(S.load_f32(source + 4 * i), f))
        i += 16
    while i < width:
        S.poke_f32(target + 4 * i, S.peek_f32(source + 4 * i) * factor)
        i += 1


def attend(kind: str, T: int) -> Any:
    """Up to T queries of one key/value head, from `first` of the (row, head) pairs of a tile of rows."""
    tile = TileOps(T)
    zero, load, store, add_product, scale_by = tile.zero, tile.load, tile.store, tile.add_product, tile.scale_by
    BYTES, load_kv = LOAD[kind][0], LOAD[kind][1]()
    queries, scores, sums = S.scratch(T * STEP), S.scratch(4 * T * PAGE), S.scratch(64 * T)
    results, highest, factors, lows, highs = S.scratch(T * STEP), S.scratch(4 * T), S.scratch(4 * T), S.scratch(8 * T), S.scratch(8 * T)

    @S.inner
    def score(k: int, ahead: int, q: int, s: int, width: int, blocks: int, softcap: float) -> None:
        """Scores of a page; what is at `ahead` will be read next."""
        for block in range(blocks):
            acc = zero()
            for d in range(width):
                S.prefetch(ahead)
                acc = add_product(acc, load_kv(k), q + 4 * d, STEP)
                k += 16 * BYTES
                ahead += 16 * BYTES
            store(s + 64 * block, 4 * PAGE, acc)
            if softcap != 0.0:
                for t in range(T):
                    p = s + 4 * PAGE * t + 64 * block
                    S.store_f32(p, M.softcap(S.load_f32(p), S.splat(softcap)))

    @S.inner
    def soften(s: int, base: int, low: int, high: int, blocks: int, m: int, total: int, alpha: int) -> None:
        """Scores of one query become weights; running maximum m, sum total and the factor for what came before."""
        top = S.splat(MASKED)
        for block in range(blocks):
            v = S.keep_between(S.load_f32(s + 64 * block), base + 16 * block, low, high, MASKED)
            S.store_f32(s + 64 * block, v)
            top = S.maximum(top, v)
        before = S.peek_f32(m)
        now = max(before, S.max_lanes(top))
        shift, some = S.splat(now), S.zero()
        for block in range(blocks):
            p = M.exp(S.sub(S.load_f32(s + 64 * block), shift))
            S.store_f32(s + 64 * block, p)
            some = S.add(some, p)
        factor = M.exp(S.splat(before - now))
        S.poke_f32(m, now)
        S.poke_f32(alpha, S.first_lane(factor))
        S.store_f32(total, S.fma(S.load_f32(total), factor, some))

    @S.inner
    def run(args: int, head: int, rows: int, pairs: int, first: int, table: int) -> None:
        q, s, partial, o, m, alpha, low, high = queries(), scores(), sums(), results(), highest(), factors(), lows(), highs()
        frame, width, room, kv_heads = S.word(args, FRAME), S.word(args, KEY), S.word(args, ROOM), S.word(args, KV_HEADS)
        group, window = S.word(args, HEADS) // kv_heads, S.word(args, WINDOW)
        for t in range(T):
            pair = min(first + t, pairs - 1)
            row, own = rows + pair // group, head * group + pair % group
            copy_scaled(q + STEP * t, S.word(args, Q) + row * S.word(args, Q_STRIDE) + 4 * width * own, width, S.number(args, SCALE))
            position = S.peek_i32(S.word(frame, F.POSITIONS) + 4 * row)
            S.poke(high + 8 * t, position)
            S.poke(low + 8 * t, max(0, position - window + 1) if window else 0)
            S.poke_f32(m + 4 * t, LOWEST)
            S.store_f32(partial + 64 * t, S.zero())
            for d in range(0, room, 16):
                S.store_f32(o + STEP * t + 4 * d, S.zero())
        end = S.peek(high + 8 * (T - 1)) + 1
        for number in range(S.peek(low) // PAGE, (end + PAGE - 1) // PAGE):
            at = S.peek_i32(table + 4 * number) * kv_heads + head
            base = number * PAGE
            n = min(PAGE, end - base)
            blocks = (n + 15) // 16
            v = S.word(args, V) + at * room * PAGE * BYTES
            score(S.word(args, K) + at * width * PAGE * BYTES, v, q, s, width, blocks, S.number(args, SOFTCAP))
            for t in range(T):
                soften(s + 4 * PAGE * t, base, S.peek(low + 8 * t), S.peek(high + 8 * t), blocks, m + 4 * t, partial + 64 * t, alpha + 4 * t)
            following = S.peek_i32(table + 4 * number + 4) if end > base + PAGE else at // kv_heads
            ahead = S.word(args, K) + (following * kv_heads + head) * width * PAGE * BYTES
            for d in range(0, room, 16):
                acc = scale_by(load(o + 4 * d, STEP), alpha, 4)
                for i in range(n):
                    S.prefetch(ahead)
                    acc = add_product(acc, load_kv(v + (i * room + d) * BYTES), s + 4 * i, 4 * PAGE)
                    ahead += 16 * BYTES
                store(o + 4 * d, STEP, acc)
        for t in range(min(T, pairs - first)):
            pair = first + t
            row, own = rows + pair // group, head * group + pair % group
            total, factor = S.sum_lanes(S.load_f32(partial + 64 * t)), 1.0
            if S.word(args, SINKS):
                sink, top = S.peek_f32(S.word(args, SINKS) + 4 * own), S.peek_f32(m + 4 * t)
                now = max(sink, top)
                factor = S.first_lane(M.exp(S.splat(top - now)))
                total = total * factor + S.first_lane(M.exp(S.splat(sink - now)))
            value = S.word(args, VALUE)
            copy_scaled(S.word(args, OUT) + row * S.word(args, OUT_STRIDE) + 4 * value * own, o + STEP * t, value, factor / total)

    return run


def build(kind: str) -> Callable[[int, int], None]:
    """The kernel for key/value memory of f16 or f32: chunk c is a tile of rows and a key/value head."""
    run8, run4, run1 = attend(kind, 8), attend(kind, 4), attend(kind, 1)

    def attention(args: int, chunk: int) -> None:
        frame, kv_heads = S.word(args, FRAME), S.word(args, KV_HEADS)
        tile, head = S.word(frame, F.TILES) + 16 * (chunk // kv_heads), chunk % kv_heads
        rows, pairs = S.peek_i32(tile), S.peek_i32(tile + 4) * (S.word(args, HEADS) // kv_heads)
        table = S.word(frame, F.TABLES) + S.peek_i32(tile + 8) * S.word(frame, F.TABLE)
        first = 0
        while first < pairs:
            if pairs - first > 4:
                run8(args, head, rows, pairs, first, table)
                first += 8
            elif pairs - first > 1:
                run4(args, head, rows, pairs, first, table)
                first += 4
            else:
                run1(args, head, rows, pairs, first, table)
                first += 1

    return attention
