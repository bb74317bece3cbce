"""Streams side by side in a row, `f(arguments, row)`: mixed by coefficients of the row, or brought to another's magnitude.
Links of a chain, as those in `row.py`. Argument blocks in 8-byte words; strides are bytes from row to row.
"""

from __future__ import annotations

from collections.abc import Callable

from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.row import load_some, store_some

# --- blend: x, stride, coefficients, stride, y, stride, out, stride, width of a stream, streams of x, streams of y and out, plus ----


def blend() -> Callable[[int, int], None]:
    """out_i = y_i + sum over j of (c_ij + plus) * x_j."""
    edge = S.scratch(64)

    @S.inner
    def sums(x: int, c: int, plus: float, n: int, width: int, i: int, k: int, room: int, v: S.Vector) -> S.Vector:
        """v and columns i:i + k of all streams of x."""
        for j in range(n):
            part = S.load_f32(x + 4 * (j * width + i)) if k == 16 else load_some(x + 4 * (j * width + i), k, room)
            v = S.fma(part, S.splat(S.peek_f32(c + 4 * j) + plus), v)
        return v

    def kernel(args: int, row: int) -> None:
        x, c = S.word(args, 0) + row * S.word(args, 1), S.word(args, 2) + row * S.word(args, 3)
        y, out = S.word(args, 4) + row * S.word(args, 5), S.word(args, 6) + row * S.word(args, 7)
        width, n, plus, room = S.word(args, 8), S.word(args, 9), S.number(args, 11), edge()
        for s in range(S.word(args, 10)):
            for i in range(0, width, 16):
                k, at = min(16, width - i), 4 * (s * width + i)
                v = S.load_f32(y + at) if k == 16 else load_some(y + at, k, room)
                v = sums(x, c + 4 * s * n, plus, n, width, i, k, room, v)
                if k == 16:
                    S.store_f32(out + at, v)
                else:
                    store_some(out + at, k, v, room)

    return kernel


# --- match: x, stride, like, stride, out, stride, width, floor ---------------------------------------------------------------------


def match() -> Callable[[int, int], None]:
    """out = x * sqrt(mean(like^2) / max(mean(x^2), floor))."""
    edge = S.scratch(64)

    @S.inner
    def mean_square(x: int, n: int, room: int) -> float:
        whole, squares = n // 16 * 16, S.zero()
        for i in range(0, whole, 16):
            v = S.load_f32(x + 4 * i)
            squares = S.fma(v, v, squares)
        v = load_some(x + 4 * whole, n - whole, room)
        return S.sum_lanes(S.fma(v, v, squares)) / n

    def kernel(args: int, row: int) -> None:
        x, like = S.word(args, 0) + row * S.word(args, 1), S.word(args, 2) + row * S.word(args, 3)
        out, n, room = S.word(args, 4) + row * S.word(args, 5), S.word(args, 6), edge()
        have = max(mean_square(x, n, room), S.number(args, 7))
        factor = S.splat(S.sqrt(mean_square(like, n, room) / have))
        for i in range(0, n, 16):
            k = min(16, n - i)
            if k == 16:
                S.store_f32(out + 4 * i, S.mul(S.load_f32(x + 4 * i), factor))
            else:
                store_some(out + 4 * i, k, S.mul(load_some(x + 4 * i, k, room), factor), room)

    return kernel


_BUILDERS = {"blend": blend, "match": match}


def build(kind: str) -> Callable[[int, int], None]:
    """The kernel `kind`."""
    return _BUILDERS[kind]()
