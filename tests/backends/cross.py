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
    from edgerun.backends.cpu.kernels import compiled

    last: list[Any] = []
    emit = compiled.Library.emit

    def kept(library: Any) -> bytes:
        last[:] = [library]
        return emit(library)

    compiled.Library.emit = kept   # type: ignore[method-assign]

    def compile_for(function: Callable, name: str, takes: int, returns_int: bool) -> tuple[str, bytes, str]:
        symbol, code = compiled.compile_object(function, name, takes, returns_int)
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
