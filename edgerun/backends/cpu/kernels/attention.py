"""Attention over pages of key/value memory, as in flash attention (arXiv:2205.14135), span by span: 256 positions at a time,
each from fresh, merged in the order of the positions. So a query's result has the same bits in any tile, chunk or batch, and
for any number of threads: each may take a span of its own, or one all of them.

Queries that share a key/value head go together. `kinds.py` draws a page, `merge.py` a result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgerun.backends.cpu.kernels import bfloat
from edgerun.backends.cpu.kernels import frame as F
from edgerun.backends.cpu.kernels import functions as M
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.kinds import KINDS
from edgerun.backends.cpu.kernels.merge import LOG2E, add, copy, earliest
from edgerun.backends.cpu.kernels.queries import MOST, QueryOps, side_by_side
from edgerun.backends.cpu.kernels.rotation import rotate
from edgerun.backends.executor import PAGE

# The argument block, in 8-byte words. K and V lie in page 0, PAGES bytes before page 1; a head of them takes K_PAGE and V_PAGE.
# ROOM is the floats of a value in a slot; WINDOW as in `merge.earliest`; PARTS is how many chunks share the queries of a head; SLOPES
# the address of a word with a float for each head, where there is ALiBi; TABLES the word of the frame with the tables of pages, in
# front of the one with their stride.
K, K_PAGE, V, V_PAGE, PAGES, Q, Q_STRIDE, SLOTS, SLOT, GROUP, KV_HEADS, KEY, ROOM, SCALE, WINDOW, SOFTCAP, FRAME, PARTS, SLOPES, TABLES = range(20)
MASKED = -3e38
STEP = 4 * (F.MAX_HEAD + 48)   # bytes from query to query in scratch: a constant, and no power of two, which would share cache sets
LINE = 4 * (F.SPAN + 16)       # bytes from the scores of a query to those of the next


def scorer(keys: str, values: str, T: int, fetch: bool, pairs: bool) -> Any:
    """Scores of T queries for the keys of a page; `fetch`: while what comes `next` is asked for."""
    width = side_by_side(T)
    ops, kind = QueryOps(T, keys, values, width, pairs), KINDS[keys]
    zero, store, scales, score, ahead = ops.zero, ops.store, ops.key_scales, ops.score, ops.ahead
    STRIP_BYTES, HEADER, PAIR, TWO = kind.key_strip, 32 * kind.scaled, 4 * kind.bits, 4 if pairs else 8

    @S.inner
    def page(k: int, next: int, q: int, s: int, strips: int, positions: int) -> None:
        block = strips * STRIP_BYTES
        for _ in range(0, positions, 16 * width):
            acc, at, x = zero(), k, q
            for _ in range(strips):
                scale = scales(at, block)
                for d in range(HEADER, STRIP_BYTES, PAIR):
                    if fetch:
                        ahead(next)
                        next += PAIR * width
                    acc = score(acc, at + d, block, x, STEP, scale)
                    x += TWO
                at += STRIP_BYTES
            store(s, 64, LINE, acc)
            s += 64 * width
            k += width * block

    return page


def weigher(keys: str, values: str, T: int, width: int, fetch: bool, pairs: bool) -> Any:
    """Sums of T queries over the values of a span, `width` vectors of them; `fetch`: while the next page's are asked for."""
    ops, kind = QueryOps(T, keys, values, width, pairs), KINDS[values]
    zero, store, weigh, weigh_last, EACH, TOGETHER = ops.zero, ops.store, ops.weigh, ops.weigh_last, 2 if pairs else 4, 2 if pairs else 1
    SCALED, STRIP_BYTES, HALVES = kind.scaled, kind.value_strip, kind.strip // 16
    STRIPS, HEADER, POSITION = max(1, width // HALVES), 2 * PAGE * SCALED, kind.strip * kind.bits // 8
    unpacked = S.scratch(4 * PAGE * STRIPS)

    @S.inner
    def span(base: int, pages: int, table: int, begin: int, end: int, vector: int, s: int, o: int) -> None:
        """base: of the values of this head; pages: bytes from page to page; vector: the first of the `width`."""
        acc, floats, at = zero(), unpacked(), vector // HALVES * STRIP_BYTES
        for number in range(begin // PAGE, (end + PAGE - 1) // PAGE):
            v = base + S.peek_i32(table + 4 * number) * pages + at
            next = v
            if fetch:
                next = base + S.peek_i32(table + 4 * min(number + 1, (end - 1) // PAGE)) * pages + at
            if SCALED:
                for strip in range(STRIPS):
                    for i in range(0, PAGE, 16):
                        S.store_f32(floats + 4 * (PAGE * strip + i), S.load_half(v + STRIP_BYTES * strip + 2 * i))
            x, count = s + EACH * (number * PAGE - begin), min(PAGE, end - number * PAGE)
            for i in range(0, count - count % TOGETHER, TOGETHER):
                if fetch:
                    for strip in range(STRIPS):
                        for j in range(TOGETHER):
                            S.prefetch(next + STRIP_BYTES * strip + HEADER + POSITION * (i + j))
                acc = weigh(acc, v + HEADER + POSITION * i, x + EACH * i, LINE, floats + 4 * i, vector % HALVES)
            if count % TOGETHER:
                i = count - 1
                acc = weigh_last(acc, v + HEADER + POSITION * i, x + EACH * i, LINE, floats + 4 * i, vector % HALVES)
        store(o + 64 * vector, 64, STEP, acc)

    return span


@S.inner
def lean(s: int, begin: int, end: int, own: int, slope: float) -> None:
    """Take slope * (own - position) off the scores for positions begin:end."""
    steep = S.splat(slope)
    for i in range((end - begin + 15) // 16):
        S.store_f32(s + 64 * i, S.fma(steep, S.count_from(begin + 16 * i - own), S.load_f32(s + 64 * i)))


@S.inner
def bend(s: int, begin: int, end: int, softcap: float) -> None:
    """The soft cap of the scores for positions begin:end."""
    cap, scale = S.splat(softcap), S.splat(LOG2E)
    for i in range((end - begin + 15) // 16):
        S.store_f32(s + 64 * i, S.mul(M.softcap(S.load_f32(s + 64 * i), cap), scale))


@S.inner
def soften(s: int, result: int, begin: int, end: int, low: int, high: int, pairs: bool) -> None:
    """Scores of one query for positions begin:end become weights, in half the room as pairs; where the result keeps them, the highest and the sum."""
    blocks = (end - begin + 15) // 16
    seen = 0 if low > begin else max(0, high + 1 - begin) // 16   # blocks in front that need no mask
    for i in range(seen, blocks):
        S.store_f32(s + 64 * i, S.keep_between(S.load_f32(s + 64 * i), begin + 16 * i, low, high, MASKED))
    top = S.splat(MASKED)
    for i in range(blocks):
        top = S.larger(S.load_f32(s + 64 * i), top)
    highest = S.max_lanes(top)
    shift, total = S.splat(highest), S.zero()
    for i in range(blocks):
        p = M.exp2(S.sub(S.load_f32(s + 64 * i), shift))
        if pairs:
            S.store_f16(s + 32 * i, bfloat.rounded(p))
        else:
            S.store_f32(s + 64 * i, p)
        total = S.add(total, p)
    S.poke_f32(result, highest)
    S.poke_f32(result + 4, S.sum_lanes(total))


def attend(keys: str, values: str, T: int, fetch: bool, alibi: bool, pairs: bool) -> Any:
    """Up to T queries of one key/value head over a span, from `first` of the (row, head) pairs of a tile of rows."""
    width, key, KEYS_PAIRED, VALUES_PAIRED = side_by_side(T), KINDS[keys], pairs and keys != "f32", pairs and values != "f32"
    score, weigh = scorer(keys, values, T, fetch, KEYS_PAIRED), weigher(keys, values, T, width, fetch, VALUES_PAIRED)
    weigh_one = weigh if width == 1 else weigher(keys, values, T, 1, fetch, VALUES_PAIRED)   # what is left of a head whose width is odd
    STRIP, ROTATED = key.strip, key.rotated

    @S.inner
    def query(target: int, source: int, width: int, room: int, factor: float) -> None:
        scale = S.splat(factor)
        for i in range(0, width - width % 16, 16):
            S.store_f32(target + 4 * i, S.mul(S.load_f32(source + 4 * i), scale))
        for i in range(width - width % 16, width):
            S.poke_f32(target + 4 * i, S.peek_f32(source + 4 * i) * factor)
        for i in range(width, room):
            S.poke_f32(target + 4 * i, 0.0)
        if ROTATED:
            rotate(target, width)
        if KEYS_PAIRED:
            for i in range(0, room, 16):
                S.store_f16(target + 2 * i, bfloat.rounded(S.load_f32(target + 4 * i)))

    @S.inner
    def run(args: int, head: int, rows: int, pairs: int, first: int, table: int, span: int, alone: int, q: int, s: int, o: int) -> None:
        frame, group, window = S.word(args, FRAME), S.word(args, GROUP), S.word(args, WINDOW)
        wide, room, softcap = S.word(args, KEY), S.word(args, ROOM), S.number(args, SOFTCAP)
        strips, positions = (wide + STRIP - 1) // STRIP, S.word(frame, F.SEEN) + 4 * rows
        begin = max(span * F.SPAN, earliest(S.peek_i32(positions + 4 * S.quotient(first, group)), window) // PAGE * PAGE)
        end = min(span * F.SPAN + F.SPAN, S.peek_i32(positions + 4 * S.quotient(min(first + T, pairs) - 1, group)) + 1)
        if begin >= end:
            return
        for t in range(T):
            pair = min(first + t, pairs - 1)
            row = S.quotient(pair, group)
            source = S.word(args, Q) + (rows + row) * S.word(args, Q_STRIDE) + 4 * wide * (head * group + pair - row * group)
            query(q + STEP * t, source, wide, strips * STRIP, S.number(args, SCALE))
        k, v, pages = S.word(args, K) + head * S.word(args, K_PAGE), S.word(args, V) + head * S.word(args, V_PAGE), S.word(args, PAGES)
        for number in range(begin // PAGE, (end + PAGE - 1) // PAGE):
            next = v + S.peek_i32(table + 4 * (begin // PAGE)) * pages
            if (number + 1) * PAGE < end:
                next = k + S.peek_i32(table + 4 * number + 4) * pages
            score(k + S.peek_i32(table + 4 * number) * pages, next, q, s + 4 * (number * PAGE - begin), strips, min(PAGE, end - number * PAGE))
        for t in range(T):
            row = S.quotient(min(first + t, pairs - 1), group)
            position = S.peek_i32(positions + 4 * row)
            if softcap != 0.0:
                bend(s + LINE * t, begin, end, softcap)
            if alibi:
                own = head * group + min(first + t, pairs - 1) - row * group
                lean(s + LINE * t, begin, end, position, S.number(S.word(args, SLOPES), own))
            soften(s + LINE * t, o + STEP * t + 4 * room, begin, end, earliest(position, window), position, VALUES_PAIRED)
        vectors = room // 16
        for vector in range(0, vectors - vectors % width, width):
            weigh(v, pages, table, begin, end, vector, s, o)
        for vector in range(vectors - vectors % width, vectors):
            weigh_one(v, pages, table, begin, end, vector, s, o)
        for t in range(min(T, pairs - first)):
            row = S.quotient(first + t, group)
            own, row = head * group + first + t - row * group, rows + row
            position = S.peek_i32(S.word(frame, F.SEEN) + 4 * row)
            start = max(alone * span, earliest(position, window) // F.SPAN)
            if start <= span <= position // F.SPAN:
                slot = S.peek_i32(S.word(frame, F.SLOTS) + 8 * row) + alone * span
                result = S.word(args, SLOTS) + slot * S.word(args, SLOT) + own * (4 * room + 64)
                if start == span:
                    copy(result, o + STEP * t, room)
                else:
                    add(result, o + STEP * t, room)

    return run


def build(keys: str, values: str, group: str, *how: str) -> Callable[[int, int], None]:
    """The kernel for two kinds and `group` queries that share a head: chunk c is a tile of rows, or a span of one, and a part of
    the queries of a head.

    how: "alibi" where scores depend on the distance, a kernel of its own, so that the others do not pay for it; "pairs" where
    what is not kept as f32 is multiplied as pairs of bfloat16 (`bfloat.py`).

    A row alone goes by its group, in equal parts if that is too many for the registers; several rows as many as these take.
    """
    MANY = MOST
    FEW = -(-int(group) // -(-int(group) // MANY))
    few, many = (attend(keys, values, T, fetch, "alibi" in how, "pairs" in how) for T, fetch in ((FEW, True), (MANY, False)))
    queries, scores, results = S.scratch(MANY * STEP), S.scratch(MANY * LINE), S.scratch(MANY * STEP)

    @S.inner
    def whole(args: int, head: int, rows: int, first: int, pairs: int, table: int, span: int, alone: int, q: int, s: int, o: int) -> None:
        while first < pairs:
            if pairs - first > 2 * FEW:
                many(args, head, rows, pairs, first, table, span, alone, q, s, o)
                first += MANY
            else:
                few(args, head, rows, pairs, first, table, span, alone, q, s, o)
                first += FEW

    def attention(args: int, chunk: int) -> None:
        frame, parts, q, s, o = S.word(args, FRAME), S.word(args, PARTS), queries(), scores(), results()
        number = S.quotient(chunk, S.word(args, KV_HEADS) * parts)
        tile, share = S.word(frame, F.TILES) + 16 * number, chunk - number * S.word(args, KV_HEADS) * parts
        head = S.quotient(share, parts)
        rows, count, span, alone = S.peek_i32(tile), S.peek_i32(tile + 4), S.peek_i32(tile + 12), 1
        tables = S.word(args, TABLES)
        table, last = S.word(frame, tables) + S.peek_i32(tile + 8) * S.word(frame, tables + 1), span
        if span < 0:
            positions = S.word(frame, F.SEEN) + 4 * rows
            alone, span = 0, earliest(S.peek_i32(positions), S.word(args, WINDOW)) // F.SPAN
            last = S.peek_i32(positions + 4 * (count - 1)) // F.SPAN
        pairs = count * S.word(args, GROUP)
        per = S.quotient(pairs + parts - 1, parts)
        first = (share - head * parts) * per
        for number in range(span, last + 1):
            whole(args, head, rows, first, min(first + per, pairs), table, number, alone, q, s, o)

    return attention
