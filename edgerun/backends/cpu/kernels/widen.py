"""Half floats as floats, 16 at a time. Args: halves | floats."""

from __future__ import annotations

from collections.abc import Callable

from edgerun.backends.cpu.kernels import simd as S


def widen(args: int, count: int) -> None:
    """`count` of them, 16 at least: those at the end may be done twice."""
    halves, floats = S.word(args, 0), S.word(args, 1)
    for i in range(0, count, 16):
        at = min(i, count - 16)
        S.store_f32(floats + 4 * at, S.load_half(halves + 2 * at))


def build() -> Callable:
    """The one kernel of this file."""
    return widen
