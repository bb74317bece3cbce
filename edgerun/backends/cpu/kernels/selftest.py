"""The primitives that differ by ISA, tried once before a process compiles kernels with them. Knows no kernel.

LLVM's intrinsics are no interface: their operands have changed between its versions. What was compiled into wrong instructions
would be kept, and nothing would ever look at it again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite
import numpy as np
from llvmlite import ir
from numba import types

from edgerun.backends.cpu import isa, native
from edgerun.backends.cpu.kernels import dot, fields
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.compiled import compile_object
from edgerun.backends.cpu.kernels.simd import U8, i64, op
from edgerun.backends.cpu.objectcode import harmless, undefined_symbols

BITS = (4, 5, 6, 7, 8)   # AVX2 has a way of its own for most of them
TABLE = tuple(range(-127, 113, 15))
FIELDS = ((4, 4, 0), (2, 2, 0), (6, 2, 4), (0, 2, 4), (7, 1, 4), (0, 1, 2))   # shift, bits, up
# What the kernel reads and writes, one after another in memory.
ROOM = np.dtype(
    [
        ("x", "i1", 16), ("codes", "u1", (len(BITS), 4, 64)), ("index", "u1", 64), ("bytes", "u1", 64), ("half", "f2", 16), ("single", "f4", 16),
        ("sums", "i4", (len(BITS), 16)), ("looked", "i1", 64), ("fields", "u1", (len(FIELDS), 64)), ("widened", "f4", 16), ("narrowed", "f2", 16),
    ]
)  # fmt: skip
_AT = {name: ROOM.fields[name][1] for name in ROOM.names}   # type: ignore[index, union-attr]


def _address(b: Any, p: Any, name: str, more: int = 0) -> Any:
    return b.add(p, ir.IntType(64)(_AT[name] + more))


@op(types.void, i64)
def _bytes(b: Any, p: Any) -> None:
    """Sums of products for each number of bits, 64 bytes looked up, and fields of 64 bytes."""
    for i, bits in enumerate(BITS):
        codes = [S.load_at(b, _address(b, p, "codes", 256 * i + 64 * g), U8.ir) for g in range(4)]
        S.store_at(b, _address(b, p, "sums", 64 * i), dot.dot16(b, codes, _address(b, p, "x"), bits))
    S.store_at(b, _address(b, p, "looked"), fields.lookup(TABLE)(b, S.load_at(b, _address(b, p, "index"), U8.ir)))
    for i, (shift, bits, up) in enumerate(FIELDS):
        S.store_at(b, _address(b, p, "fields", 64 * i), fields.field(b, S.load_at(b, _address(b, p, "bytes"), U8.ir), shift, bits, up))


HALF, SINGLE, WIDENED, NARROWED = _AT["half"], _AT["single"], _AT["widened"], _AT["narrowed"]


def selftest(p: int, _: int) -> None:
    """Everything once."""
    _bytes(p)
    S.store_f32(p + WIDENED, S.load_half(p + HALF))
    S.store_f16(p + NARROWED, S.narrow(S.load_f32(p + SINGLE)))


def build() -> Callable[[int, int], None]:
    """The kernel, as every module has it."""
    return selftest


def inputs(seed: int) -> np.ndarray:
    """Random numbers; seed 0: the largest ones, which show where an instruction saturates."""
    random = np.random.default_rng(seed)
    room = np.zeros((), ROOM)
    room["x"] = random.integers(-127, 128, 16) if seed else 127 * (-1) ** (np.arange(16) // 4)
    for codes, bits in zip(room["codes"], BITS, strict=True):
        codes[:] = random.integers(0, 1 << bits, (4, 64)) if seed else (1 << bits) - 1
    room["index"] = random.permutation(np.arange(64) % 16) + (16 * random.integers(0, 16, 64) if fields.NIBBLES else 0)
    room["bytes"] = random.integers(0, 256, 64)
    room["half"] = random.standard_normal(16) * 2.0 ** random.integers(-24, 15, 16)
    room["single"] = random.standard_normal(16) * 2.0 ** random.integers(-24, 14, 16)
    return room


def wrong(room: np.ndarray) -> list[str]:
    """What the kernel computed wrongly from the inputs that lie beside."""
    columns = room["codes"].reshape(len(BITS), 4, 16, 4).transpose(0, 2, 1, 3).reshape(len(BITS), 16, 16)   # [bits][row][column]
    sums = columns.astype(np.int32) @ room["x"].astype(np.int32)
    faults = [f"dot products of {bits}-bit codes" for i, bits in enumerate(BITS) if not np.array_equal(sums[i], room["sums"][i])]
    if not np.array_equal(np.array(TABLE)[room["index"] % 16], room["looked"]):
        faults.append("looking up bytes")
    if any(not np.array_equal((room["bytes"] >> shift & (1 << bits) - 1) << up, room["fields"][i]) for i, (shift, bits, up) in enumerate(FIELDS)):
        faults.append("fields of bytes")
    if not np.array_equal(room["half"].astype(np.float32), room["widened"]):
        faults.append("widening halves")
    if not np.array_equal(room["single"].astype(np.float16), room["narrowed"]):
        faults.append("rounding to halves")
    return faults


def check() -> str | None:
    """What is wrong with this ISA's primitives in one line, None where nothing is."""
    try:
        faults = _faults()
    except Exception as error:   # whatever Numba or LLVM has against them
        faults = [ascii(str(error).strip()[:200] or type(error).__name__)]
    if not faults:
        return None
    what = ", ".join(dict.fromkeys(faults))
    return f"the instruction set {S.ISA} does not work with llvmlite {llvmlite.__version__} on this CPU ({what}); choose another one with EDGERUN_ISA"


def _faults() -> list[str]:
    symbol, code = compile_object(selftest, "selftest", 2, False)
    if not harmless(code):
        return ["it calls " + ascii(", ".join(sorted(undefined_symbols(code))))[:80]]   # an intrinsic that LLVM does not know
    own = next(each for each in isa.ALL if each.name == S.ISA)
    run = native.Linked({"selftest": (symbol, code)}, own).function("selftest", 2)
    faults = []
    for seed in range(3):
        room = inputs(seed)
        run(room.ctypes.data, 0)
        faults += wrong(room)
    return faults
