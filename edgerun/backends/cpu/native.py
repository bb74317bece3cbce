"""Linking object code into this process with llvmlite, and calling it. Knows no kernel; imports no Numba."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

from edgerun.backends.cpu.isa import Isa, target


class Linked:
    """Machine code in memory; addresses are valid while this object lives."""

    def __init__(self, objects: Mapping[str, tuple[str, bytes]], isa: Isa) -> None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        cpu, features = target(isa)
        machine = llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, jit=True)
        self._engine: Any = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        for _, code in objects.values():
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self.addresses: dict[str, int] = {name: self._engine.get_function_address(symbol) for name, (symbol, _) in objects.items()}
        missing = [name for name, address in self.addresses.items() if not address]
        assert not missing, f"no code for {missing}"

    def function(self, name: str, takes: int) -> Callable[..., int]:
        """A Python function of `takes` integers; it runs without the GIL and returns the kernel's integer (or 0)."""
        prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * takes)
        native, keep = prototype(self.addresses[name]), self._engine

        def call(*args: int) -> int:
            result = ctypes.c_int64()
            native(ctypes.byref(result), None, *args)
            return result.value

        call.engine = keep   # type: ignore[attr-defined]
        return call
