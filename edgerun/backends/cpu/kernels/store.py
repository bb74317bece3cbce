"""Writing keys and values of a row into its page: `f(arguments, row)`, a row op. `kinds.py` draws the page.

The argument block, in 8-byte words: k, stride, v, stride, heads, key width, value width, then as attention's
K, K_PAGE, V, V_PAGE, PAGES; frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from edgerun.backends.cpu.kernels import frame as F
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.kinds import KINDS
from edgerun.backends.cpu.kernels.rotation import rotate
from edgerun.backends.cpu.kernels.simd import F16, F32, I32, i64, op
from edgerun.backends.executor import PAGE

_I32, _I64, _BYTE = ir.IntType(32), ir.IntType(64), ir.IntType(8)
_LARGEST = 3.3895313892515355e38   # of bfloat16


@op(F16, F32)
def narrow_bf16(b: Any, v: Any) -> Any:
    """16 floats to bfloat16, to nearest even; what is too large becomes the largest, so that 0 * v stays 0."""
    v = S.invoke(b, "llvm.minnum.v16f32", F32.ir, v, S.constant(F32.ir, _LARGEST))
    bits = b.bitcast(S.invoke(b, "llvm.maxnum.v16f32", F32.ir, v, S.constant(F32.ir, -_LARGEST)), I32.ir)
    odd = b.and_(b.lshr(bits, S.constant(I32.ir, 16)), S.constant(I32.ir, 1))
    return b.trunc(b.lshr(b.add(bits, b.add(odd, S.constant(I32.ir, 0x7FFF))), S.constant(I32.ir, 16)), F16.ir)


@op(F32, F16)
def widen(b: Any, v: Any) -> Any:
    """16 halves to floats."""
    return S.widen_emit(b, v)


@op(F32, F32, S.f32, S.f32)
def between(b: Any, v: Any, low: Any, high: Any) -> Any:
    """Each lane, at least low and at most high; low where it is not a number."""
    v = S.invoke(b, "llvm.maxnum.v16f32", F32.ir, v, S.splat_of(b, low, F32.ir))
    return S.invoke(b, "llvm.minnum.v16f32", F32.ir, v, S.splat_of(b, high, F32.ir))


@op(types.void, i64, i64, I32)
def scatter_bytes(b: Any, address: Any, stride: Any, v: Any) -> None:
    """The low byte of lane i to address + i * stride."""
    for i in range(16):
        S.store_at(b, b.add(address, b.mul(stride, _I64(i))), b.trunc(b.extract_element(v, _I32(i)), _BYTE))


def _nibbles(b: Any, low: Any, high: Any) -> Any:
    return b.or_(b.and_(low, S.constant(I32.ir, 15)), b.shl(high, S.constant(I32.ir, 4)))


@op(I32, I32, I32)
def pair_halves(b: Any, x: Any, y: Any) -> Any:
    """Bytes of two 4-bit numbers: x[i] below, y[i] above."""
    return _nibbles(b, x, y)


@op(I32, I32, I32)
def pair_neighbours(b: Any, x: Any, y: Any) -> Any:
    """Bytes of two 4-bit numbers, of the 32 of x and then y: 2i below, 2i + 1 above."""
    both = S.join(b, x, y)
    return _nibbles(b, S.pick(b, both, list(range(0, 32, 2))), S.pick(b, both, list(range(1, 32, 2))))


def float_strip(bits: int, convert: Any) -> tuple[Any, Any]:
    """(key, value): write 16 floats at x as one strip of a key or of a value, in 16 or 32 bits."""

    @S.inner
    def key(x: int, to: int, lane: int) -> None:
        if bits == 16:
            S.scatter_halves(to + 2 * lane, 32, 16, convert(S.load_f32(x)))
        else:
            for i in range(16):
                S.poke_f32(to + 4 * lane + 64 * i, S.peek_f32(x + 4 * i))

    @S.inner
    def value(x: int, to: int, slot: int) -> None:
        if bits == 16:
            S.store_f16(to + 32 * slot, convert(S.load_f32(x)))
        else:
            S.store_f32(to + 64 * slot, S.load_f32(x))

    return key, value


def scaled_strip(bits: int) -> tuple[Any, Any]:
    """(key, value): write 32 floats at x as one strip of a key or of a value, in 8 or 4 bits with a scale."""
    LOW, HIGH = {8: (-127.0, 127.0), 4: (-8.0, 7.0)}[bits]

    @S.inner
    def step_of(x: int) -> float:
        """The scale before it is rounded. In 4 bits the number that sticks out most becomes -8, as in Q4_0."""
        a, c = S.load_f32(x), S.load_f32(x + 64)
        up = max(S.max_lanes(a), S.max_lanes(c))
        down = max(S.max_lanes(S.negate(a)), S.max_lanes(S.negate(c)))
        if bits == 8:
            return max(up, down) / S.f32(127.0)
        return down / S.f32(8.0) if down >= up else up / S.f32(-8.0)

    @S.inner
    def codes(x: int, step: float) -> Any:
        inverse = S.f32(1.0) / step if step != 0.0 else S.f32(0.0)
        return S.to_i32(between(S.mul(S.load_f32(x), S.splat(inverse)), LOW, HIGH))

    @S.inner
    def scaled(x: int, to: int) -> float:
        """Write the scale, and give it as it is once rounded."""
        scale = S.narrow(S.splat(step_of(x)))
        S.scatter_halves(to, 2, 1, scale)
        return S.first_lane(widen(scale))

    @S.inner
    def key(x: int, to: int, lane: int) -> None:
        step = scaled(x, to + 2 * lane)
        a, c = codes(x, step), codes(x + 64, step)
        if bits == 8:
            scatter_bytes(to + 32 + lane, 16, a)
            scatter_bytes(to + 32 + 256 + lane, 16, c)
        else:
            scatter_bytes(to + 32 + lane, 16, pair_neighbours(a, c))

    @S.inner
    def value(x: int, to: int, slot: int) -> None:
        step = scaled(x, to + 2 * slot)
        a, c = codes(x, step), codes(x + 64, step)
        if bits == 8:
            S.store_i8(to + 2 * PAGE + 32 * slot, a)
            S.store_i8(to + 2 * PAGE + 32 * slot + 16, c)
        else:
            S.store_i8(to + 2 * PAGE + 16 * slot, pair_halves(a, c))

    return key, value


def writer(name: str, keys: bool) -> Any:
    """Write the head of `width` floats at x: a key or a value of position `slot` of the page at `to`."""
    kind = KINDS[name]
    pair = scaled_strip(kind.bits) if kind.scaled else float_strip(kind.bits, narrow_bf16 if name == "bf16" else S.narrow)
    strip, STRIP, ROTATED = pair[0] if keys else pair[1], kind.strip, kind.rotated
    BLOCK, STEP = kind.key_strip, kind.key_strip if keys else kind.value_strip
    head = S.scratch(4 * (F.MAX_HEAD + 32))

    @S.inner
    def write(x: int, width: int, to: int, slot: int) -> None:
        own, strips = head(), (width + STRIP - 1) // STRIP
        for i in range(width):
            S.poke_f32(own + 4 * i, S.peek_f32(x + 4 * i))
        for i in range(width, strips * STRIP):
            S.poke_f32(own + 4 * i, 0.0)
        if ROTATED:
            rotate(own, width)
        if keys:
            to += slot // 16 * strips * BLOCK
            slot %= 16
        for i in range(strips):
            strip(own + 4 * STRIP * i, to + STEP * i, slot)

    return write


def build(keys: str, values: str) -> Callable[[int, int], None]:
    """The kernel for keys and values of two kinds."""
    write_key, write_value = writer(keys, True), writer(values, False)

    def kernel(args: int, row: int) -> None:
        k, v = S.word(args, 0) + row * S.word(args, 1), S.word(args, 2) + row * S.word(args, 3)
        heads, key, value, frame = S.word(args, 4), S.word(args, 5), S.word(args, 6), S.word(args, 12)
        slot = S.peek_i32(S.word(frame, F.POSITIONS) + 4 * row) % PAGE
        page = S.peek_i32(S.word(frame, S.word(args, 13)) + 4 * row) * S.word(args, 11)
        for h in range(heads):
            write_key(k + 4 * h * key, key, S.word(args, 7) + page + h * S.word(args, 8), slot)
            write_value(v + 4 * h * value, value, S.word(args, 9) + page + h * S.word(args, 10), slot)

    return kernel
