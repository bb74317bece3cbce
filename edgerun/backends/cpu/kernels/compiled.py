"""Numba function to object code: no CPython wrapper, no reference counting, no Python symbol left. Knows no kernel.

A compiled kernel has Numba's own calling convention, `int32 f(result *, error **, int64, int64)`; kernels cannot fail, so
the error is never read. `call` in `run.py` and `native.py` speak it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba import types
from numba.core import codegen, compiler
from numba.core.registry import cpu_target


class Library(codegen.JITCodeLibrary):
    """The code of a function, which nobody calls in this process: it is optimized, and becomes machine code, once, with all that a kernel calls.

    Numba would do both for each function before it does so for its callers, which takes a third of the time.
    """

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_specific(self) -> None:
        pass

    def get_pointer_to_function(self, name: str) -> int:
        """Not zero, which would mean that there is none."""
        self._ensure_finalized()
        return 8

    def emit(self) -> bytes:
        """The object."""
        super()._optimize_final_module()
        code: bytes = self._codegen._tm.emit_object(self._final_module)
        return code


class Codegen(codegen.JITCPUCodegen):
    """Numba's, with no engine that would run anything."""

    _library_class = Library

    def _add_module(self, module: Any) -> None:
        pass

    def set_env(self, env_name: str, env: Any) -> None:
        """Nothing: Python objects mean nothing to kernels."""


@functools.cache
def _codegen() -> Codegen:
    return Codegen("edgerun")


@contextmanager
def _as_one() -> Iterator[None]:
    """Meanwhile Numba makes a `Library` of each function. What was compiled so can be called by others, but not from Python."""
    context = cpu_target.target_context
    before = context.codegen()
    context._internal_codegen = _codegen()
    try:
        yield
    finally:
        context._internal_codegen = before


def compile_object(function: Callable, name: str, takes: int, returns_int: bool) -> tuple[str, bytes]:
    """(symbol, ELF or Mach-O object) of a Python function of `takes` int64 that returns int64 or nothing.

    The symbol is made from `name`: kernels of several processes are linked into one, where Numba's own names would meet.
    """
    function.__qualname__ = "edgerun_" + name.replace("-", "_")
    flags: Any = compiler.Flags()
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"
    flags.nrt = False
    with _as_one():
        result = compiler.compile_extra(
            cpu_target.typing_context,
            cpu_target.target_context,
            function,
            (types.int64,) * takes,
            types.int64 if returns_int else types.void,
            flags,
            {},
        )
    return result.fndesc.mangled_name, result.library.emit()
