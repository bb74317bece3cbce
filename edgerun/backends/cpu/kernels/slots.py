"""What is done with the slots of a row: each times its weight, or all added up. Kernels of (arguments, row).

The argument block, in 8-byte words: x, stride, weights or 0, stride, out, stride, slots, width of a slot, residual or 0, stride.
"""

from __future__ import annotations

from collections.abc import Callable

from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.row import load_some, store_some


def weigh() -> Callable[[int, int], None]:
    """Each slot of out is that of x times its weight."""
    edge = S.scratch(64)

    def kernel(args: int, row: int) -> None:
        x, weights = S.word(args, 0) + row * S.word(args, 1), S.word(args, 2) + row * S.word(args, 3)
        out, n, room = S.word(args, 4) + row * S.word(args, 5), S.word(args, 7), edge()
        for slot in range(S.word(args, 6)):
            weight = S.splat(S.peek_f32(weights + 4 * slot))
            for i in range(0, n - n % 16, 16):
                S.store_f32(out + 4 * i, S.mul(S.load_f32(x + 4 * i), weight))
            if n % 16:
                i = n - n % 16
                store_some(out + 4 * i, n - i, S.mul(load_some(x + 4 * i, n - i, room), weight), room)
            x, out = x + 4 * n, out + 4 * n

    return kernel


def mix() -> Callable[[int, int], None]:
    """out is the sum of the slots, each times its weight, in their order, and the residual."""
    edge = S.scratch(64)

    def kernel(args: int, row: int) -> None:
        x, weights = S.word(args, 0) + row * S.word(args, 1), S.word(args, 2) + row * S.word(args, 3)
        out, n, weighed = S.word(args, 4) + row * S.word(args, 5), S.word(args, 7), S.word(args, 2)
        residual, more, room = S.word(args, 8), S.word(args, 8) + row * S.word(args, 9), edge()
        for i in range(0, n, 16):
            k, total = min(16, n - i), S.zero()
            for slot in range(S.word(args, 6)):
                at = x + 4 * (n * slot + i)
                v = S.load_f32(at) if k == 16 else load_some(at, k, room)
                weight = S.splat(S.peek_f32(weights + 4 * slot) if weighed else S.f32(1.0))
                total = S.fma(v, weight, total)
            if residual:
                total = S.add(total, S.load_f32(more + 4 * i) if k == 16 else load_some(more + 4 * i, k, room))
            if k == 16:
                S.store_f32(out + 4 * i, total)
            else:
                store_some(out + 4 * i, k, total, room)

    return kernel


def build(kind: str) -> Callable[[int, int], None]:
    """`weigh` or `mix`."""
    return {"weigh": weigh, "mix": mix}[kind]()
