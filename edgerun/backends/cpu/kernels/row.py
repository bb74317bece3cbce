"""Ops that work on each row by itself, `f(arguments, row)`: norm, quantization of activations, rope, activations.
`run.chain` calls them one after another while the row is in L1. Each argument block is drawn above its kernel, in 8-byte words;
strides are bytes from row to row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgerun.backends.cpu.kernels import activations as A
from edgerun.backends.cpu.kernels import frame as F
from edgerun.backends.cpu.kernels import functions as M
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels import superblock as B


@S.inner
def load_some(p: int, n: int, room: int) -> Any:
    """n floats and zeros behind them."""
    S.store_f32(room, S.zero())
    for i in range(n):
        S.poke_f32(room + 4 * i, S.peek_f32(p + 4 * i))
    return S.load_f32(room)


@S.inner
def store_some(p: int, n: int, v: Any, room: int) -> None:
    """The first n lanes."""
    S.store_f32(room, v)
    for i in range(n):
        S.poke_f32(p + 4 * i, S.peek_f32(room + 4 * i))


# --- norm: x, stride, out, stride, width of a group, groups, weight, stride, bias, stride, eps; these strides are from group to group


def norm(kind: str) -> Callable[[int, int], None]:
    """Root-mean-square or layer norm of each group."""
    LAYER = kind == "layer"
    edge = S.scratch(64)

    @S.inner
    def one(x: int, out: int, n: int, weight: int, bias: int, eps: float) -> None:
        room, total, squares, mean = edge(), S.zero(), S.zero(), 0.0
        whole = n // 16 * 16
        if LAYER:
            for i in range(0, whole, 16):
                total = S.add(total, S.load_f32(x + 4 * i))
            total = S.add(total, load_some(x + 4 * whole, n - whole, room))
            mean = S.sum_lanes(total) / n
        center = S.splat(mean)
        for i in range(0, whole, 16):
            v = S.sub(S.load_f32(x + 4 * i), center)
            squares = S.fma(v, v, squares)
        rest = 0.0
        for i in range(whole, n):
            rest += (S.peek_f32(x + 4 * i) - mean) ** 2
        factor = 1.0 / S.sqrt((S.sum_lanes(squares) + rest) / n + eps)
        scale = S.splat(factor)
        for i in range(0, n, 16):
            k = min(16, n - i)
            v = S.load_f32(x + 4 * i) if k == 16 else load_some(x + 4 * i, k, room)
            v = S.mul(S.sub(v, center), scale)
            if weight:
                v = S.mul(v, S.load_f32(weight + 4 * i) if k == 16 else load_some(weight + 4 * i, k, room))
            if bias:
                v = S.add(v, S.load_f32(bias + 4 * i) if k == 16 else load_some(bias + 4 * i, k, room))
            if k == 16:
                S.store_f32(out + 4 * i, v)
            else:
                store_some(out + 4 * i, k, v, room)

    def kernel(args: int, row: int) -> None:
        x, out, n = S.word(args, 0) + row * S.word(args, 1), S.word(args, 2) + row * S.word(args, 3), S.word(args, 4)
        for g in range(S.word(args, 5)):
            weight, bias = S.word(args, 6) + g * S.word(args, 7), S.word(args, 8) + g * S.word(args, 9)
            one(x + 4 * n * g, out + 4 * n * g, n, weight, bias, S.number(args, 10))

    return kernel


# --- quantize: x, stride, width, q, d, sums of 16, sums of 32, starts, address of the number of rows -------------------------


def quantizer(kind: str) -> Any:
    """Of codes, broad ones or superblocks, an inner function of (x, width, q, d, sums of 16, sums of 32, starts, row, rows): where a row goes
    depends on how many there are. Superblocks have no starts.
    """
    return B.quantizer() if kind == "superblocks" else unit_quantizer(kind == "broad")


def unit_quantizer(broad: bool) -> Any:
    """q = round(x / d), d = max |x| / LARGEST over a unit's columns (broad: over 32), and the sums; `activations.py` draws them."""
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
    BYTES, UNIT, GROUP, TOGETHER = A.ROW, A.UNIT, A.GROUP, A.GROUPED

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


def quantize(kind: str) -> Callable[[int, int], None]:
    """Quantize a row of the batch, as codes, broad ones or superblocks."""
    place = quantizer(kind)

    def kernel(args: int, row: int) -> None:
        x, rows = S.word(args, 0) + row * S.word(args, 1), S.peek(S.word(args, 8))
        place(x, S.word(args, 2), S.word(args, 3), S.word(args, 4), S.word(args, 5), S.word(args, 6), S.word(args, 7), row, rows)

    return kernel


# --- rope: x, stride, heads, width of a head, pairs, table [row][cos 2n | sin 2n] ---------------------------------------------


def rope(pairing: str) -> Callable[[int, int], None]:
    """Turn the pairs of each head: y = x * C + partner(x) * S, where S holds the signs."""
    HALVES = pairing == "halves"

    @S.inner
    def neighbours(x: int, n: int, table: int) -> None:
        i = 0
        while i + 16 <= 2 * n:
            v = S.load_f32(x + 4 * i)
            turned = S.mul(S.swap_neighbours(v), S.load_f32(table + 8 * n + 4 * i))
            S.store_f32(x + 4 * i, S.fma(v, S.load_f32(table + 4 * i), turned))
            i += 16
        while i < 2 * n:
            a, b = S.peek_f32(x + 4 * i), S.peek_f32(x + 4 * i + 4)
            c, s = S.peek_f32(table + 4 * i), S.peek_f32(table + 8 * n + 4 * i + 4)
            S.poke_f32(x + 4 * i, a * c - b * s)
            S.poke_f32(x + 4 * i + 4, b * c + a * s)
            i += 2

    @S.inner
    def halves(x: int, n: int, table: int) -> None:
        i, y = 0, x + 4 * n
        while i + 16 <= n:
            a, b, c, s = S.load_f32(x + 4 * i), S.load_f32(y + 4 * i), S.load_f32(table + 4 * i), S.load_f32(table + 12 * n + 4 * i)
            S.store_f32(x + 4 * i, S.sub(S.mul(a, c), S.mul(b, s)))
            S.store_f32(y + 4 * i, S.fma(b, c, S.mul(a, s)))
            i += 16
        while i < n:
            p, q, c1, s1 = S.peek_f32(x + 4 * i), S.peek_f32(y + 4 * i), S.peek_f32(table + 4 * i), S.peek_f32(table + 12 * n + 4 * i)
            S.poke_f32(x + 4 * i, p * c1 - q * s1)
            S.poke_f32(y + 4 * i, q * c1 + p * s1)
            i += 1

    def kernel(args: int, row: int) -> None:
        x, n = S.word(args, 0) + row * S.word(args, 1), S.word(args, 4)
        table = S.word(args, 5) + row * 16 * n
        for h in range(S.word(args, 2)):
            if HALVES:
                halves(x + 4 * h * S.word(args, 3), n, table)
            else:
                neighbours(x + 4 * h * S.word(args, 3), n, table)

    return kernel


# --- temper: x, stride, width, table [row] ------------------------------------------------------------------------------------


def temper(_: str) -> Callable[[int, int], None]:
    """Multiply the row by its factor."""
    edge = S.scratch(64)

    def kernel(args: int, row: int) -> None:
        x, n, room = S.word(args, 0) + row * S.word(args, 1), S.word(args, 2), edge()
        factor = S.splat(S.peek_f32(S.word(args, 3) + 4 * row))
        whole = n // 16 * 16
        for i in range(0, whole, 16):
            S.store_f32(x + 4 * i, S.mul(S.load_f32(x + 4 * i), factor))
        if whole < n:
            store_some(x + 4 * whole, n - whole, S.mul(load_some(x + 4 * whole, n - whole, room), factor), room)

    return kernel


# --- cutoff: x, stride, out, stride, width, deviations --------------------------------------------------------------------------


def cutoff(_: str) -> Callable[[int, int], None]:
    """What sticks out of the row by more than so many deviations, and zeros."""
    edge = S.scratch(64)

    def kernel(args: int, row: int) -> None:
        x, out, n, room = S.word(args, 0) + row * S.word(args, 1), S.word(args, 2) + row * S.word(args, 3), S.word(args, 4), edge()
        whole = n // 16 * 16
        total, squares, rest = S.zero(), S.zero(), 0.0
        for i in range(0, whole, 16):
            total = S.add(total, S.load_f32(x + 4 * i))
        mean = S.sum_lanes(S.add(total, load_some(x + 4 * whole, n - whole, room))) / n
        center = S.splat(mean)
        for i in range(0, whole, 16):
            v = S.sub(S.load_f32(x + 4 * i), center)
            squares = S.fma(v, v, squares)
        for i in range(whole, n):
            rest += (S.peek_f32(x + 4 * i) - mean) ** 2
        edge_of = S.splat(mean + S.number(args, 5) * S.sqrt((S.sum_lanes(squares) + rest) / n))
        for i in range(0, whole, 16):
            S.store_f32(out + 4 * i, S.maximum(S.sub(S.load_f32(x + 4 * i), edge_of), S.zero()))
        if whole < n:
            store_some(out + 4 * whole, n - whole, S.maximum(S.sub(load_some(x + 4 * whole, n - whole, room), edge_of), S.zero()), room)

    return kernel


# --- elementwise: x, stride, y, stride, out, stride, width, factor ------------------------------------------------------------


def _silu(x: Any, y: Any, c: Any) -> Any:
    return S.div(x, S.add(S.splat(1.0), M.exp(S.negate(x))))


def _gelu(x: Any, y: Any, c: Any) -> Any:
    cubic = S.mul(S.mul(x, x), S.mul(x, S.splat(0.044715)))
    twice = S.mul(S.splat(2.0 * 0.7978845608028654), S.add(x, cubic))
    return S.div(x, S.add(S.splat(1.0), M.exp(S.negate(twice))))


def _gelu_erf(x: Any, y: Any, c: Any) -> Any:
    return S.mul(S.mul(x, S.splat(0.5)), S.add(S.splat(1.0), M.erf(S.mul(x, S.splat(0.7071067811865476)))))


def _relu(x: Any, y: Any, c: Any) -> Any:
    return S.maximum(x, S.zero())


def _relu2(x: Any, y: Any, c: Any) -> Any:
    r = S.maximum(x, S.zero())
    return S.mul(r, r)


def _sigmoid(x: Any, y: Any, c: Any) -> Any:
    return S.div(S.splat(1.0), S.add(S.splat(1.0), M.exp(S.negate(x))))


def _softplus(x: Any, y: Any, c: Any) -> Any:
    return M.softplus(S.fma(y, c, x))


def _product(x: Any, y: Any, c: Any) -> Any:
    return S.mul(x, y)


def _add(x: Any, y: Any, c: Any) -> Any:
    return S.add(x, y)


def _scale(x: Any, y: Any, c: Any) -> Any:
    return S.mul(x, c)


def _clamp(x: Any, y: Any, c: Any) -> Any:
    return S.minimum(S.maximum(x, S.negate(c)), c)


def _softcap(x: Any, y: Any, c: Any) -> Any:
    return M.softcap(x, c)


_MAPS: dict[str, Callable] = {
    "silu": _silu, "gelu": _gelu, "gelu_erf": _gelu_erf, "relu": _relu, "relu2": _relu2, "sigmoid": _sigmoid,
    "softplus": _softplus, "product": _product, "add": _add, "scale": _scale, "clamp": _clamp, "softcap": _softcap,
}   # fmt: skip


def mapped(name: str, gated: bool) -> Callable[[int, int], None]:
    """out = f(x, y, factor) over the columns, times y where gated."""
    f, edge = S.inner(_MAPS[name]), S.scratch(64)

    def kernel(args: int, row: int) -> None:
        x, y = S.word(args, 0) + row * S.word(args, 1), S.word(args, 2) + row * S.word(args, 3)
        out, n, c, room = S.word(args, 4) + row * S.word(args, 5), S.word(args, 6), S.splat(S.number(args, 7)), edge()
        for i in range(0, n, 16):
            k = min(16, n - i)
            a = S.load_f32(x + 4 * i) if k == 16 else load_some(x + 4 * i, k, room)
            b = S.load_f32(y + 4 * i) if k == 16 else load_some(y + 4 * i, k, room)
            v = f(a, b, c)
            if gated:
                v = S.mul(v, b)
            if k == 16:
                S.store_f32(out + 4 * i, v)
            else:
                store_some(out + 4 * i, k, v, room)

    return kernel


# --- spread: x, stride, y, stride, out, stride, width ---------------------------------------------------------------------------


def spread(name: str) -> Callable[[int, int], None]:
    """out = f(x) * y, where x is one number."""
    f, edge = S.inner(_MAPS[name]), S.scratch(64)

    def kernel(args: int, row: int) -> None:
        x = S.splat(S.peek_f32(S.word(args, 0) + row * S.word(args, 1)))
        y, out = S.word(args, 2) + row * S.word(args, 3), S.word(args, 4) + row * S.word(args, 5)
        v, n, room = f(x, x, x), S.word(args, 6), edge()
        for i in range(0, n - n % 16, 16):
            S.store_f32(out + 4 * i, S.mul(v, S.load_f32(y + 4 * i)))
        if n % 16:
            i = n - n % 16
            store_some(out + 4 * i, n - i, S.mul(v, load_some(y + 4 * i, n - i, room)), room)

    return kernel


# --- clamped: gate, stride, up, stride, out, stride, width, slope, limit ---------------------------------------------------------


def clamped(_: str) -> Callable[[int, int], None]:
    """g * sigmoid(slope * g) * (u + 1) of g = min(gate, limit) and u = up within +-limit."""
    edge = S.scratch(64)

    @S.inner
    def f(g: Any, u: Any, slope: Any, limit: Any) -> Any:
        g = S.minimum(g, limit)
        u = S.maximum(S.minimum(u, limit), S.negate(limit))
        return S.mul(S.div(g, S.add(S.splat(1.0), M.exp(S.negate(S.mul(slope, g))))), S.add(u, S.splat(1.0)))

    def kernel(args: int, row: int) -> None:
        gate, up = S.word(args, 0) + row * S.word(args, 1), S.word(args, 2) + row * S.word(args, 3)
        out, n, room = S.word(args, 4) + row * S.word(args, 5), S.word(args, 6), edge()
        slope, limit = S.splat(S.number(args, 7)), S.splat(S.number(args, 8))
        for i in range(0, n - n % 16, 16):
            S.store_f32(out + 4 * i, f(S.load_f32(gate + 4 * i), S.load_f32(up + 4 * i), slope, limit))
        if n % 16:
            i = n - n % 16
            g = load_some(gate + 4 * i, n - i, room)
            store_some(out + 4 * i, n - i, f(g, load_some(up + 4 * i, n - i, room), slope, limit), room)

    return kernel


# --- arrange: x, stride, out, stride, width of a block, blocks of out, the number of the block of x that goes into each ----------


def arrange(_: str) -> Callable[[int, int], None]:
    """Copy blocks of columns to other places."""

    def kernel(args: int, row: int) -> None:
        x, out, n = S.word(args, 0) + row * S.word(args, 1), S.word(args, 2) + row * S.word(args, 3), S.word(args, 4)
        for block in range(S.word(args, 5)):
            source, target = x + 4 * n * S.word(args, 6 + block), out + 4 * n * block
            for i in range(0, n - n % 16, 16):
                S.store_f32(target + 4 * i, S.load_f32(source + 4 * i))
            for i in range(n - n % 16, n):
                S.poke_f32(target + 4 * i, S.peek_f32(source + 4 * i))

    return kernel


# --- xielu: x, stride, out, stride, width, positive, negative, beta, eps ---------------------------------------------------------


def xielu(_: str) -> Callable[[int, int], None]:
    """xIELU of each column."""
    edge = S.scratch(64)

    def kernel(args: int, row: int) -> None:
        x, out, n, room = S.word(args, 0) + row * S.word(args, 1), S.word(args, 2) + row * S.word(args, 3), S.word(args, 4), edge()
        positive, negative, beta, eps = S.splat(S.number(args, 5)), S.splat(S.number(args, 6)), S.splat(S.number(args, 7)), S.splat(S.number(args, 8))
        for i in range(0, n, 16):
            k = min(16, n - i)
            v = M.xielu(S.load_f32(x + 4 * i) if k == 16 else load_some(x + 4 * i, k, room), positive, negative, beta, eps)
            if k == 16:
                S.store_f32(out + 4 * i, v)
            else:
                store_some(out + 4 * i, k, v, room)

    return kernel


# --- select: x, stride, out, stride, width, frame --------------------------------------------------------------------------------


def select(_: str) -> Callable[[int, int], None]:
    """Copy row `row` of those asked for."""

    def kernel(args: int, row: int) -> None:
        source = S.peek_i32(S.peek(S.word(args, 5) + 8 * F.SELECTED) + 4 * row)
        x, out = S.word(args, 0) + source * S.word(args, 1), S.word(args, 2) + row * S.word(args, 3)
        for i in range(S.word(args, 4)):
            S.poke_f32(out + 4 * i, S.peek_f32(x + 4 * i))

    return kernel


_BUILDERS: dict[str, Callable[[str], Callable]] = {
    "norm": norm, "quantize": quantize, "rope": rope, "temper": temper, "cutoff": cutoff, "arrange": arrange, "select": select,
    "spread": spread, "clamped": clamped, "xielu": xielu,
    "map": lambda name: mapped(name, False), "gate": lambda name: mapped(name, True),
}   # fmt: skip


def build(kind: str, parameter: str = "") -> Callable[[int, int], None]:
    """The kernel `kind` with its parameter: norm-rms, norm-layer, rope-halves, map-add, gate-silu, ..."""
    return _BUILDERS[kind](parameter)
