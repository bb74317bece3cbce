"""Child process of the tests of other machines' code: compiles kernels for a triple that need not be this machine's.

    python cross.py TRIPLE FOLDER NAME...     writes FOLDER/NAME.o as symbol, NUL, object

The ISA is in the environment (`compiler.environment`). Numba asks LLVM for the machine's triple and believes the answer, so the
whole way of a kernel, optimization included, is the one it takes on such a machine; only running it is not possible.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm


def pretend(triple: str) -> Callable[[Callable, str, int, bool], tuple[str, bytes, str]]:
    """`compile_object` for another machine, which also gives the assembly; before Numba is imported."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.get_process_triple = lambda: triple
    from numba.core.codegen import CPUCodeLibrary, JITCodeLibrary, JITCPUCodegen

    from edgerun.backends.cpu.kernels.compiled import compile_object

    last: list[Any] = []

    def emit(library: Any) -> bytes:
        last[:] = [library]
        code: bytes = library._codegen._tm.emit_object(library._final_module)
        return code

    # Nothing of it may be linked into this process, which Numba would do with every function.
    JITCodeLibrary._finalize_specific = lambda library: None   # type: ignore[method-assign]
    JITCodeLibrary.get_pointer_to_function = lambda library, name: library._ensure_finalized() or 8   # type: ignore[method-assign]
    JITCPUCodegen.set_env = lambda codegen, name, env: None   # type: ignore[method-assign]
    CPUCodeLibrary._get_compiled_object = emit   # type: ignore[method-assign]

    def compile_for(function: Callable, name: str, takes: int, returns_int: bool) -> tuple[str, bytes, str]:
        symbol, code = compile_object(function, name, takes, returns_int)
        return symbol, code, last[0].get_asm_str()

    return compile_for


def main() -> None:
    """Compile each kernel."""
    triple, folder, *names = sys.argv[1:]
    compile_for = pretend(triple)
    from edgerun.backends.cpu.kernels.__main__ import SHAPES

    for name in names:
        module, *parameters = name.split("-")
        build = importlib.import_module(f"edgerun.backends.cpu.kernels.{module}").build
        symbol, code, _ = compile_for(build(*parameters), name, *SHAPES.get(name, (2, False)))
        Path(folder, f"{name}.o").write_bytes(symbol.encode() + b"\0" + code)


if __name__ == "__main__":
    main()
