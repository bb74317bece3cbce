"""The Hadamard rotation of heads (as in QuaRot, arXiv:2404.00456): a vector that sticks out in one dimension is spread over
all, so that numbers of few bits with a common scale hold it. Knows no page.

The rotation is symmetric and its own inverse. It turns groups of the largest power of two that divides the width of the head;
heads whose width is no multiple of 16 stay as they are.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.simd import F32, op


@op(F32, F32)
def _within(b: Any, v: Any) -> Any:
    """The four stages within a vector, unscaled: lane i and lane i ^ step become their sum and their difference."""
    for step in (1, 2, 4, 8):
        signs = ir.Constant(F32.ir, [-1.0 if i & step else 1.0 for i in range(16)])
        v = S.fused(b, v, signs, S.pick(b, v, [i ^ step for i in range(16)]))
    return v


@S.inner
def rotate(p: int, width: int) -> None:
    """Rotate the head of `width` floats at p, in place."""
    group = width & -width
    if group < 16:
        return
    for i in range(0, width, 16):
        S.store_f32(p + 4 * i, _within(S.load_f32(p + 4 * i)))
    step = 16
    while step < group:
        for i in range(0, width, 16):
            if not i & step:
                x, y = S.load_f32(p + 4 * i), S.load_f32(p + 4 * (i + step))
                S.store_f32(p + 4 * i, S.add(x, y))
                S.store_f32(p + 4 * (i + step), S.sub(x, y))
        step *= 2
    factor = S.splat(S.f32(1.0) / S.sqrt(S.f32(group)))
    for i in range(0, width, 16):
        S.store_f32(p + 4 * i, S.mul(S.load_f32(p + 4 * i), factor))
