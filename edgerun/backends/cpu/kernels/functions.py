"""Functions of a vector of floats that no instruction computes: exp, 2^x, softplus, erf, the soft cap, xIELU. The same bits on every call."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.simd import F32, I32, op

_I32 = ir.IntType(32)


def exp_emit(b: Any, x: Any) -> Any:
    """Emitter: e^x to 1 ulp or so: 2^n * p(r) with a degree-6 polynomial on |r| <= ln(2)/2; 0 below -87, saturates above 88."""
    x = S.invoke(b, "llvm.minnum.v16f32", F32.ir, x, S.constant(F32.ir, 88.0))
    alive = b.fcmp_ordered(">", x, S.constant(F32.ir, -87.0))
    x = b.select(alive, x, S.constant(F32.ir, 0.0))

    shifter = S.constant(F32.ir, 12582912.0)
    t = S.fused(b, x, S.constant(F32.ir, 1.4426950216293335), shifter)
    n = b.fsub(t, shifter)
    r = S.fused(b, n, S.constant(F32.ir, -0.693145751953125), x)
    r = S.fused(b, n, S.constant(F32.ir, -1.428606765330187e-06), r)
    p = S.constant(F32.ir, 1.0 / 720)
    for c in (1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0):
        p = S.fused(b, p, r, S.constant(F32.ir, c))
    power = b.shl(b.add(b.bitcast(t, I32.ir), S.constant(I32.ir, 127 - 0x4B400000)), S.constant(I32.ir, 23))
    return b.select(alive, b.fmul(p, b.bitcast(power, F32.ir)), S.constant(F32.ir, 0.0))


exp = op(F32, F32)(exp_emit)


@op(F32, F32)
def exp2(b: Any, x: Any) -> Any:
    """2^x for x <= 0, to 1.6e-7: 2^n * p(r) with |r| <= 1/2; 1 at 0 and 0 below -126, both exactly."""
    shifter = S.constant(F32.ir, 12582912.0)
    t = b.fadd(x, shifter)
    r = b.fsub(x, b.fsub(t, shifter))
    p = S.constant(F32.ir, 0.001326472731307149)
    for c in (0.009671512991189957, 0.05550733581185341, 0.24022242426872253, 0.6931470036506653, 1.0):   # a minimax fit
        p = S.fused(b, p, r, S.constant(F32.ir, c))
    n = b.shl(b.bitcast(t, I32.ir), S.constant(I32.ir, 23))
    result = b.bitcast(b.add(b.bitcast(p, I32.ir), n), F32.ir)
    return b.select(b.fcmp_ordered(">", x, S.constant(F32.ir, -126.0)), result, S.constant(F32.ir, 0.0))


@op(F32, F32)
def softplus(b: Any, x: Any) -> Any:
    """ln(1 + e^x) to 3e-7 of itself: max(x, 0) + 2 artanh(s) with s = e / (2 + e) <= 1/3 and e = e^-|x|, by its power series."""
    e = exp_emit(b, b.fneg(S.invoke(b, "llvm.fabs.v16f32", F32.ir, x)))
    s = b.fdiv(e, b.fadd(e, S.constant(F32.ir, 2.0)))
    square = b.fmul(s, s)
    p = S.constant(F32.ir, 1.0 / 15)
    for n in (13, 11, 9, 7, 5, 3, 1):
        p = S.fused(b, p, square, S.constant(F32.ir, 1.0 / n))
    log = b.fmul(b.fadd(s, s), p)
    return b.fadd(S.invoke(b, "llvm.maxnum.v16f32", F32.ir, x, S.constant(F32.ir, 0.0)), log)


@op(F32, F32, F32)
def softcap(b: Any, x: Any, cap: Any) -> Any:
    """cap * tanh(x / cap), with tanh(y) = 1 - 2 / (e^2y + 1)."""
    one, two = S.constant(F32.ir, 1.0), S.constant(F32.ir, 2.0)
    e = exp_emit(b, b.fmul(two, b.fdiv(x, cap)))
    return b.fmul(cap, b.fsub(one, b.fdiv(two, b.fadd(e, one))))


@op(F32, F32)
def erf(b: Any, x: Any) -> Any:
    """The error function to 1.5e-7 (Abramowitz and Stegun 7.1.26)."""
    one = S.constant(F32.ir, 1.0)
    a = S.invoke(b, "llvm.fabs.v16f32", F32.ir, x)
    t = b.fdiv(one, b.fadd(one, b.fmul(a, S.constant(F32.ir, 0.3275911))))
    p = S.constant(F32.ir, 1.061405429)
    for c in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        p = b.fadd(b.fmul(p, t), S.constant(F32.ir, c))
    y = b.fsub(one, b.fmul(b.fmul(p, t), exp_emit(b, b.fneg(b.fmul(a, a)))))
    return S.invoke(b, "llvm.copysign.v16f32", F32.ir, y, x)


@op(F32, F32, F32, F32, F32, F32)
def xielu(b: Any, x: Any, positive: Any, negative: Any, beta: Any, eps: Any) -> Any:
    """positive * x^2 + beta * x above 0, else negative * (exp(min(x, eps)) - 1 - x) + beta * x."""
    grown = b.fsub(exp_emit(b, S.invoke(b, "llvm.minnum.v16f32", F32.ir, x, eps)), S.constant(F32.ir, 1.0))
    below = b.fmul(negative, b.fsub(grown, x))
    curved = b.select(b.fcmp_ordered(">", x, S.constant(F32.ir, 0.0)), b.fmul(positive, b.fmul(x, x)), below)
    return S.fused(b, beta, x, curved)
