"""A row times a factor of its own, which a step looks up by position.

The argument block, in 8-byte words: x, stride, out, stride, width, factors of the rows.
"""

from __future__ import annotations

from collections.abc import Callable

from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.row import load_some, store_some


def build() -> Callable[[int, int], None]:
    """The one kernel of this file."""
    edge = S.scratch(64)

    def temper(args: int, row: int) -> None:
        x, out, n = S.word(args, 0) + row * S.word(args, 1), S.word(args, 2) + row * S.word(args, 3), S.word(args, 4)
        factor, room = S.splat(S.peek_f32(S.word(args, 5) + 4 * row)), edge()
        for i in range(0, n - n % 16, 16):
            S.store_f32(out + 4 * i, S.mul(S.load_f32(x + 4 * i), factor))
        if n % 16:
            i = n - n % 16
            store_some(out + 4 * i, n - i, S.mul(load_some(x + 4 * i, n - i, room), factor), room)

    return temper
