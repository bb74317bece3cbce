"""Words of memory that several threads read and write. Knows no use."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from edgerun.backends.cpu.kernels.simd import i64, op

_I64 = ir.IntType(64)
_POINTER = _I64.as_pointer()


@op(i64, i64)
def acquire(b: Any, p: Any) -> Any:
    """Read what another thread wrote."""
    return b.load_atomic(b.inttoptr(p, _POINTER), "acquire", 8)


@op(types.void, i64)
def increment(b: Any, p: Any) -> None:
    """Add one, and publish all that was written before."""
    b.atomic_rmw("add", b.inttoptr(p, _POINTER), _I64(1), "acq_rel")


@op(types.void, i64, i64)
def publish(b: Any, p: Any, value: Any) -> None:
    """Write for other threads to see, after all that was written before."""
    b.store_atomic(value, b.inttoptr(p, _POINTER), "release", 8)


@op(i64, i64, i64, i64)
def swap(b: Any, p: Any, old: Any, new: Any) -> Any:
    """1 if the word was `old` and is now `new`."""
    return b.zext(b.extract_value(b.cmpxchg(b.inttoptr(p, _POINTER), old, new, "acq_rel", "acquire"), 1), _I64)
