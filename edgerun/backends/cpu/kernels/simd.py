"""The vocabulary of vectors: LLVM vectors as values inside Numba functions. Knows no format and no model.

Every vector has 16 lanes (or 64 bytes); LLVM splits it for narrower machines. Addresses are plain int64, so a kernel has
no arrays, no reference counts and no exceptions. A `Tile` is T vectors as one value whose operations unroll while the IR is
built: one kernel source serves one token and many. Only `dot16`, `field`, `lookup` and the half-float conversions differ by ISA.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

ISA = os.environ.get("EDGERUN_KERNEL_ISA", "portable")
TILE = 4 if ISA in ("avxvnni", "neon", "neoni8mm") else 8   # tokens that share an unpacked vector: what was measured to be fastest
# Inlined, so that no error path is left to call Python; and without the wrappers that Python would call, which take time to compile.
_INNER: dict[str, Any] = {"error_model": "numpy", "forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
inner = njit(**_INNER)
i64, f32 = types.int64, types.float32

_SCALARS = {"i8": ir.IntType(8), "i16": ir.IntType(16), "i32": ir.IntType(32), "f32": ir.FloatType()}
_I32, _I64, _BYTE = ir.IntType(32), ir.IntType(64), ir.IntType(8)


class Vector(types.Type):
    """`lanes` values of one element type, as an LLVM vector."""

    def __init__(self, elem: str, lanes: int) -> None:
        self.ir = ir.VectorType(_SCALARS[elem], lanes)
        super().__init__(name=f"v{lanes}{elem}")


class Tile(types.Type):
    """`count` vectors as one value."""

    def __init__(self, vector: Vector, count: int) -> None:
        self.vector, self.count = vector, count
        self.ir = ir.ArrayType(vector.ir, count)
        super().__init__(name=f"tile{count}x{vector.name}")


@register_model(Vector)
@register_model(Tile)
class _Model(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, fe_type.ir)


U8, I32, F32, F16 = Vector("i8", 64), Vector("i32", 16), Vector("f32", 16), Vector("i16", 16)   # F16: the bits of 16 halves


# Numba reads the number of arguments off the function itself, so there is one plain form for each.
_ARITY: list[Callable] = [
    lambda f: lambda ctx: f(),
    lambda f: lambda ctx, p: f(),
    lambda f: lambda ctx, p, q: f(),
    lambda f: lambda ctx, p, q, r: f(),
    lambda f: lambda ctx, p, q, r, s: f(),
    lambda f: lambda ctx, p, q, r, s, t: f(),
    lambda f: lambda ctx, p, q, r, s, t, u: f(),
    lambda f: lambda ctx, p, q, r, s, t, u, v: f(),
    lambda f: lambda ctx, p, q, r, s, t, u, v, w: f(),
]


def op(returns: Any, *takes: Any) -> Callable[[Callable], Any]:
    """Turn `emit(builder, *llvm_values) -> llvm_value` into a Numba intrinsic with one signature."""

    def wrap(emit: Callable) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            result = emit(builder, *values)
            return context.get_dummy_value() if returns is types.void else result

        typing = _ARITY[len(takes)](lambda: (returns(*takes), codegen))
        typing.__name__ = emit.__name__
        return intrinsic(typing)

    return wrap


def invoke(b: Any, name: str, returns: Any, *args: Any) -> Any:
    """Emitter: call an LLVM intrinsic."""
    fn = cgutils.get_or_insert_function(b.module, ir.FunctionType(returns, [a.type for a in args]), name)
    return b.call(fn, args)


def load_at(b: Any, address: Any, ty: Any) -> Any:
    """Emitter: a value of an LLVM type from an address of any alignment."""
    value = b.load(b.inttoptr(address, ty.as_pointer()))
    value.align = 1
    return value


def store_at(b: Any, address: Any, value: Any) -> None:
    """Emitter: a value to an address of any alignment."""
    b.store(value, b.inttoptr(address, value.type.as_pointer())).align = 1


def splat_of(b: Any, scalar: Any, ty: Any) -> Any:
    """Emitter: a vector with the scalar in every lane."""
    undefined = ir.Constant(ty, ir.Undefined)
    one = b.insert_element(undefined, scalar, _I32(0))
    return b.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(_I32, ty.count), [0] * ty.count))


def pick(b: Any, v: Any, lanes: list[int]) -> Any:
    """Emitter: some lanes of a vector, in the order given."""
    return b.shuffle_vector(v, v, ir.Constant(ir.VectorType(_I32, len(lanes)), lanes))


def join(b: Any, x: Any, y: Any) -> Any:
    """Emitter: the lanes of x and then those of y."""
    n = x.type.count + y.type.count
    return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(_I32, n), list(range(n))))


def by_parts(b: Any, n: int, emit: Callable[..., Any], *vectors: Any) -> Any:
    """Emitter: `emit` on each of n equal parts of the vectors; the results, joined."""

    def part(v: Any, i: int) -> Any:
        length = v.type.count // n
        return pick(b, v, list(range(i * length, (i + 1) * length)))

    parts = [emit(*(part(v, i) for v in vectors)) for i in range(n)]
    while len(parts) > 1:
        parts = [join(b, x, y) for x, y in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def constant(ty: Any, value: Any) -> Any:
    """A vector with a constant in every lane."""
    return ir.Constant(ty, [value] * ty.count)


# --- memory -----------------------------------------------------------------------------------------------------------


@op(F32, i64)
def load_f32(b: Any, address: Any) -> Any:
    """16 floats."""
    return load_at(b, address, F32.ir)


def _storer(vector: Vector) -> Any:
    @op(types.void, i64, vector)
    def store(b: Any, address: Any, value: Any) -> None:
        store_at(b, address, value)

    return store


store_f32, store_i32, store_f16 = _storer(F32), _storer(I32), _storer(F16)


def _scalar_loader(returns: Any, ty: Any) -> Any:
    @op(returns, i64)
    def load(b: Any, address: Any) -> Any:
        return load_at(b, address, ty)

    return load


peek, peek_f32 = _scalar_loader(i64, _I64), _scalar_loader(f32, ir.FloatType())


@inner
def word(args: int, i: int) -> Any:
    """Word i of an argument block."""
    return peek(args + 8 * i)


@inner
def number(args: int, i: int) -> Any:
    """Word i of an argument block, which holds a float32 in its low half."""
    return peek_f32(args + 8 * i)


@op(i64, i64)
def peek_i32(b: Any, address: Any) -> Any:
    """The int32 at an address."""
    return b.sext(load_at(b, address, _I32), _I64)


@op(types.void, i64, f32)
def poke_f32(b: Any, address: Any, value: Any) -> None:
    """Write one float."""
    store_at(b, address, value)


@op(types.void, i64, i64)
def poke_i32(b: Any, address: Any, value: Any) -> None:
    """Write the low half of a word."""
    store_at(b, address, b.trunc(value, _I32))


@op(types.void, i64, i64)
def poke(b: Any, address: Any, value: Any) -> None:
    """Write one word."""
    store_at(b, address, value)


def request(b: Any, address: Any, near: bool = False, own: bool = False) -> None:
    """Emitter: ask for the cache line at an address, to stay in L2 (near: and in L1); own: to be written."""
    invoke(b, "llvm.prefetch.p0", ir.VoidType(), b.inttoptr(address, _BYTE.as_pointer()), _I32(int(own)), _I32(3 if near else 2), _I32(1))


@op(types.void, i64)
def prefetch(b: Any, address: Any) -> None:
    """Ask for the cache line at an address, to stay in L2 and L1."""
    request(b, address, near=True)


@op(types.void, i64)
def prefetch_later(b: Any, address: Any) -> None:
    """Ask for the cache line at an address, to stay in L2."""
    request(b, address)


@op(types.void, i64)
def prefetch_own(b: Any, address: Any) -> None:
    """Ask for the cache line at an address, to be written."""
    request(b, address, near=True, own=True)


def ordered(b: Any) -> None:
    """Emitter: reads and requests stay on this side or that. No instruction: LLVM would put all requests of a loop side by side."""
    b.fence("acq_rel", "singlethread")


@op(i64, i64)
def one_register(b: Any, address: Any) -> Any:
    """The same address, of which LLVM knows nothing more. Cores of Intel take a product with memory at a register and a constant as
    one step, at a sum of registers as two, and LLVM likes sums."""
    return b.call(ir.InlineAsm(ir.FunctionType(_I64, [_I64]), "", "=r,0"), [address])


@op(i64, i64, i64)
def quotient(b: Any, n: Any, d: Any) -> Any:
    """n // d of n >= 0 and d > 0. Python's own form has branches for the rest, for which LLVM doubles the loops around it."""
    return b.udiv(n, d)


def scratch(nbytes: int) -> Any:
    """An intrinsic that gives the address of `nbytes` of stack, aligned to 64."""

    @op(i64)
    def reserve(b: Any) -> Any:
        with b.goto_entry_block():
            room = b.alloca(ir.ArrayType(_BYTE, nbytes))
            room.align = 64
        return b.ptrtoint(room, _I64)

    return reserve


# --- halves and small integers to floats --------------------------------------------------------------------------------

_HALF = ir.VectorType(ir.HalfType(), 16)


def widen_emit(b: Any, v: Any) -> Any:
    """Emitter: 16 halves to floats, exactly."""
    if ISA != "portable":
        return b.fpext(b.bitcast(v, _HALF), F32.ir)
    # Shift exponent and mantissa into place and correct the bias by a multiplication, which is exact for subnormals too.
    wide = b.zext(v, I32.ir)
    magnitude = b.and_(wide, constant(I32.ir, 0x7FFF))
    scaled = b.fmul(b.bitcast(b.shl(magnitude, constant(I32.ir, 13)), F32.ir), constant(F32.ir, float(2**112)))
    special = b.icmp_unsigned(">=", magnitude, constant(I32.ir, 0x7C00))
    bits = b.bitcast(scaled, I32.ir)
    bits = b.select(special, b.or_(bits, constant(I32.ir, 0x7F800000)), bits)
    sign = b.shl(b.and_(wide, constant(I32.ir, 0x8000)), constant(I32.ir, 16))
    return b.bitcast(b.or_(bits, sign), F32.ir)


def widen_bf16_emit(b: Any, v: Any) -> Any:
    """Emitter: 16 bfloat16 to floats, exactly."""
    return b.bitcast(b.shl(b.zext(v, I32.ir), constant(I32.ir, 16)), F32.ir)


@op(F16, F32)
def narrow(b: Any, v: Any) -> Any:
    """16 floats to halves, to nearest even; what is too large becomes the largest half, so that 0 * v stays 0."""
    largest = constant(F32.ir, 65504.0)
    v = invoke(b, "llvm.minnum.v16f32", F32.ir, v, largest)
    v = invoke(b, "llvm.maxnum.v16f32", F32.ir, v, constant(F32.ir, -65504.0))
    if ISA != "portable":
        return b.bitcast(b.fptrunc(v, _HALF), F16.ir)
    bits = b.bitcast(v, I32.ir)
    magnitude = b.and_(bits, constant(I32.ir, 0x7FFFFFFF))
    sign = b.lshr(b.and_(bits, constant(I32.ir, -(2**31))), constant(I32.ir, 16))
    # Subnormal results: let the addition of 0.5 do the rounding at the right bit.
    small = b.sub(b.bitcast(b.fadd(b.bitcast(magnitude, F32.ir), constant(F32.ir, 0.5)), I32.ir), constant(I32.ir, 0x3F000000))
    odd = b.and_(b.lshr(magnitude, constant(I32.ir, 13)), constant(I32.ir, 1))
    normal = b.add(b.add(magnitude, constant(I32.ir, 0xFFF - (112 << 23))), odd)
    normal = b.lshr(normal, constant(I32.ir, 13))
    half = b.select(b.icmp_unsigned("<", magnitude, constant(I32.ir, 113 << 23)), small, normal)
    return b.trunc(b.or_(half, sign), F16.ir)


@op(F32, i64)
def load_half(b: Any, address: Any) -> Any:
    """16 halves as floats."""
    return widen_emit(b, load_at(b, address, F16.ir))


@op(F32, i64)
def load_bf16(b: Any, address: Any) -> Any:
    """16 bfloat16 as floats."""
    return widen_bf16_emit(b, load_at(b, address, F16.ir))


_BYTES16 = ir.VectorType(_BYTE, 16)


@op(types.void, i64, I32)
def store_i8(b: Any, address: Any, v: Any) -> None:
    """16 integers as signed bytes."""
    store_at(b, address, b.trunc(v, _BYTES16))


@op(types.void, i64, i64, i64, F16)
def scatter_halves(b: Any, address: Any, stride: Any, count: Any, v: Any) -> None:
    """Lane i to address + i * stride, for the first `count` lanes."""
    for i in range(16):
        with b.if_then(b.icmp_signed("<", _I64(i), count)):
            store_at(b, b.add(address, b.mul(stride, _I64(i))), b.extract_element(v, _I32(i)))


# --- arithmetic ---------------------------------------------------------------------------------------------------------


def _binary(vector: Vector, name: str) -> Any:
    @op(vector, vector, vector)
    def apply(b: Any, x: Any, y: Any) -> Any:
        return getattr(b, name)(x, y)

    return apply


add, sub, mul, div = _binary(F32, "fadd"), _binary(F32, "fsub"), _binary(F32, "fmul"), _binary(F32, "fdiv")


def _intrinsic(name: str, count: int) -> Any:
    @op(F32, *[F32] * count)
    def apply(b: Any, *args: Any) -> Any:
        return invoke(b, name, F32.ir, *args)

    return apply


def fused(b: Any, x: Any, y: Any, z: Any) -> Any:
    """Emitter: x * y + z. Without fma LLVM would call a libm function per lane: there a multiplication and an addition."""
    return b.fadd(b.fmul(x, y), z) if ISA == "portable" else invoke(b, "llvm.fma.v16f32", F32.ir, x, y, z)


fma = op(F32, F32, F32, F32)(fused)
maximum, minimum = _intrinsic("llvm.maxnum.v16f32", 2), _intrinsic("llvm.minnum.v16f32", 2)
absolute = _intrinsic("llvm.fabs.v16f32", 1)


@op(F32, f32)
def splat(b: Any, x: Any) -> Any:
    """The same float in every lane."""
    return splat_of(b, x, F32.ir)


@op(F32)
def zero(b: Any) -> Any:
    """All zeros."""
    return constant(F32.ir, 0.0)


def rounded(b: Any, v: Any) -> Any:
    """Emitter: round to nearest even. |v| must be below 2^22: adding 1.5 * 2^23 leaves the integer in the low mantissa bits."""
    return b.sub(b.bitcast(b.fadd(v, constant(F32.ir, 12582912.0)), I32.ir), constant(I32.ir, 0x4B400000))


to_i32 = op(I32, F32)(rounded)


def _halving(b: Any, v: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """Reduce 16 lanes by halving: the same order on every machine."""
    n = v.type.count
    while n > 1:
        n //= 2
        v = combine(pick(b, v, list(range(n))), pick(b, v, list(range(n, 2 * n))))
    return b.extract_element(v, _I32(0))


def _halves() -> list[tuple[list[int], list[int]]]:
    """Lanes of two vectors side by side, of which lane i of one list meets lane i of the other: by halves, by quarters, and within these."""
    quarters, both = [range(4 * i, 4 * i + 4) for i in range(4)], (0, 16)
    by_eight = [[at + half + i for at in both for i in range(8)] for half in (0, 8)]
    by_four = [[at + lane for at in both for k in (half, half + 2) for lane in quarters[k]] for half in (0, 1)]
    by_two = [[at + quarter[half + i] for quarter in quarters for at in both for i in range(2)] for half in (0, 2)]
    by_one = [[at + quarter[half + i] for quarter in quarters for at in both for i in (0, 2)] for half in (0, 1)]
    return [(step[0], step[1]) for step in (by_eight, by_four, by_two, by_one)]


def across(b: Any, vectors: list[Any], combine: Callable[[Any, Any], Any]) -> Any:
    """Emitter: lane t is what the lanes of vector t, of 16, give together. Two vectors become one with half as many lanes of each, and so on."""

    def fold(parts: list[Any], merge: Callable[[Any, Any, list[int]], Any], join: Callable[[Any, Any], Any]) -> Any:
        for low, high in _halves():
            parts = [join(merge(x, y, low), merge(x, y, high)) for x, y in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    # Where the lanes of each would end up, so that they begin in such an order that vector t ends in lane t.
    ends = fold([[i] * 16 for i in range(16)], lambda x, y, lanes: [(x + y)[i] for i in lanes], lambda x, y: x)
    order = [ends.index(i) for i in range(16)]
    return fold([vectors[i] for i in order], lambda x, y, lanes: b.shuffle_vector(x, y, ir.Constant(ir.VectorType(_I32, 16), lanes)), combine)


def larger_of(b: Any, x: Any, y: Any) -> Any:
    """Emitter: x where it is larger, else y: one instruction, where `maximum` takes three to do without what is not a number."""
    return b.select(b.fcmp_ordered(">", x, y), x, y)


larger = op(F32, F32, F32)(larger_of)


@op(F32, F32)
def negate(b: Any, v: Any) -> Any:
    """-v."""
    return b.fneg(v)


@op(f32, f32)
def sqrt(b: Any, v: Any) -> Any:
    """The square root of one float."""
    return invoke(b, "llvm.sqrt.f32", ir.FloatType(), v)


@op(f32, F32)
def first_lane(b: Any, v: Any) -> Any:
    """Lane 0."""
    return b.extract_element(v, _I32(0))


@op(f32, F32)
def sum_lanes(b: Any, v: Any) -> Any:
    """The sum of the lanes, in a fixed order."""
    return _halving(b, v, b.fadd)


@op(f32, F32)
def max_lanes(b: Any, v: Any) -> Any:
    """The largest lane."""
    return _halving(b, v, lambda x, y: larger_of(b, x, y))


@op(i64, I32)
def sum_i32_lanes(b: Any, v: Any) -> Any:
    """The sum of integer lanes."""
    return b.sext(_halving(b, v, b.add), _I64)


@op(F32, F32)
def swap_neighbours(b: Any, v: Any) -> Any:
    """Lanes 1 0 3 2 ..."""
    return pick(b, v, [i ^ 1 for i in range(16)])


@op(F32, i64)
def count_from(b: Any, first: Any) -> Any:
    """first + i in lane i, as floats."""
    lanes = b.add(splat_of(b, b.trunc(first, _I32), I32.ir), ir.Constant(I32.ir, list(range(16))))
    return b.sitofp(lanes, F32.ir)


@op(F32, F32, i64, i64, i64, f32)
def keep_between(b: Any, v: Any, first: Any, low: Any, high: Any, other: Any) -> Any:
    """Lane i where low <= first + i <= high, `other` elsewhere."""
    lanes = b.add(splat_of(b, b.trunc(first, _I32), I32.ir), ir.Constant(I32.ir, list(range(16))))
    inside = b.and_(b.icmp_signed(">=", lanes, splat_of(b, b.trunc(low, _I32), I32.ir)), b.icmp_signed("<=", lanes, splat_of(b, b.trunc(high, _I32), I32.ir)))
    return b.select(inside, v, splat_of(b, other, F32.ir))
