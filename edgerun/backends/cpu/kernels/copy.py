"""Slices of a row to other places.

The argument block, in 8-byte words: x, stride, out, stride, width of a slice, slices, bytes from slice to slice of x, of out.
"""

from __future__ import annotations

from collections.abc import Callable

from edgerun.backends.cpu.kernels import simd as S


def build() -> Callable[[int, int], None]:
    """The one kernel of this file."""

    def copy(args: int, row: int) -> None:
        x, out, n = S.word(args, 0) + row * S.word(args, 1), S.word(args, 2) + row * S.word(args, 3), S.word(args, 4)
        for _ in range(S.word(args, 5)):
            for k in range(0, n - n % 16, 16):
                S.store_f32(out + 4 * k, S.load_f32(x + 4 * k))
            for k in range(n - n % 16, n):
                S.poke_f32(out + 4 * k, S.peek_f32(x + 4 * k))
            x += S.word(args, 6)
            out += S.word(args, 7)

    return copy
