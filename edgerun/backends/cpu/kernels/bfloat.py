"""Products of bfloat16 in pairs, which AVX512_BF16 adds to a float: two multiplications where a fused one is one. Knows no attention.

A bfloat16 is the upper half of a float32, rounded to even. A pair lies in 4 bytes, its first number below.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.simd import F16, F32, I32, op


class _BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite does not name."""

    def __str__(self) -> str:
        return "bfloat"


_NAMED = llvm.llvm_version_info[0] > 15   # before, the instructions took integers
_PAIRS = ir.VectorType(_BFloat(), 32) if _NAMED else I32.ir
_HALVES, _HALF = ir.VectorType(ir.IntType(16), 32), ir.VectorType(_BFloat(), 16) if _NAMED else F16.ir
_SIDE_BY_SIDE = ir.Constant(ir.VectorType(ir.IntType(32), 32), [16 * (i % 2) + i // 2 for i in range(32)])


def pair(b: Any, first: Any, second: Any) -> Any:
    """Emitter: two vectors of floats rounded and side by side, lane by lane."""
    both = S.invoke(b, "llvm.x86.avx512bf16.cvtne2ps2bf16.512", _PAIRS if _NAMED else _HALVES, second, first)
    both = b.bitcast(both, _HALVES)
    return b.bitcast(b.shuffle_vector(both, both, _SIDE_BY_SIDE), I32.ir)


def add_products(b: Any, acc: Any, x: Any, y: Any) -> Any:
    """Emitter: acc + x0 * y0 + x1 * y1 for each lane's pairs."""
    return S.invoke(b, "llvm.x86.avx512bf16.dpbf16ps.512", F32.ir, acc, b.bitcast(x, _PAIRS), b.bitcast(y, _PAIRS))


@op(F16, F32)
def rounded(b: Any, x: Any) -> Any:
    """16 floats as bfloat16."""
    return b.bitcast(S.invoke(b, "llvm.x86.avx512bf16.cvtneps2bf16.512", _HALF, x), F16.ir)
