"""Ops that work on each row by itself, `f(arguments, row)`: norm, quantization of activations, rope, activations.
`run.chain` calls them one after another while the row is in L1. Each argument block is drawn above its kernel, in 8-byte words;
strides are bytes from row to row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgerun.backends.cpu.kernels import frame as F
from edgerun.backends.cpu.kernels import functions as M
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.activations import GROUP
from edgerun.backends.cpu.kernels.quantizer import group_quantizer, quantizer


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


def quantize(kind: str) -> Callable[[int, int], None]:
    """Quantize a row of the batch, as codes, broad ones or superblocks; those of a whole group together, when the last one has come."""
    place, together = quantizer(kind), group_quantizer(kind)

    def alone(args: int, row: int) -> None:
        x, rows = S.word(args, 0) + row * S.word(args, 1), S.peek(S.word(args, 8))
        place(x, S.word(args, 2), S.word(args, 3), S.word(args, 4), S.word(args, 5), S.word(args, 6), S.word(args, 7), row, rows)

    def kernel(args: int, row: int) -> None:
        first, stride, rows = row // GROUP * GROUP, S.word(args, 1), S.peek(S.word(args, 8))
        x, n, q, d, sums, pairs, starts = S.word(args, 0), S.word(args, 2), S.word(args, 3), S.word(args, 4), S.word(args, 5), S.word(args, 6), S.word(args, 7)
        if first + GROUP > rows:
            place(x + row * stride, n, q, d, sums, pairs, starts, row, rows)
        elif row == first + GROUP - 1:
            together(x + first * stride, stride, n, q, d, sums, pairs, starts, first)

    return kernel if together else alone


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
