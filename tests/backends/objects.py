"""Object code for this machine, made without Numba: kernels so small that every step of theirs is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

I32, I64 = ir.IntType(32), ir.IntType(64)
# Pointers are passed as integers, which is the same to a machine: int32 f(result *, error **, int64 args, int64 chunk).
SIGNATURE = ir.FunctionType(I32, [I64] * 4)


def assemble(source: str, triple: str | None = None) -> bytes:
    """A relocatable object from LLVM assembly, for this machine or another."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple or llvm.get_process_triple()).create_target_machine(jit=True)
    module = llvm.parse_assembly(source)
    module.triple = triple or llvm.get_process_triple()
    module.verify()
    return machine.emit_object(module)


def kernel(name: str, body: Callable[[Emitter, Any, Any], object]) -> bytes:
    """The object of a kernel `name` whose body is emitted by body(emitter, args, chunk)."""
    module = ir.Module()
    function = ir.Function(module, SIGNATURE, name)
    emitter = Emitter(ir.IRBuilder(function.append_basic_block()), module)
    body(emitter, function.args[2], function.args[3])
    emitter.b.ret(I32(0))
    return assemble(str(module))


class Emitter:
    """The few instructions that such kernels are made of; b: the builder."""

    def __init__(self, b: ir.IRBuilder, module: ir.Module) -> None:
        self.b, self.module = b, module

    def word(self, base: Any, index: Any) -> Any:
        """The 8-byte word at base[index]."""
        return self.b.load(self.address(base, index), typ=I64)

    def put(self, base: Any, index: Any, value: Any) -> None:
        """base[index] = value."""
        self.b.store(value, self.address(base, index))

    def address(self, base: Any, index: Any) -> Any:
        """A pointer to base[index]."""
        index = I64(index) if isinstance(index, int) else index
        return self.b.inttoptr(self.b.add(base, self.b.mul(index, I64(8))), I64.as_pointer())

    def call(self, name: str, *args: Any) -> Any:
        """A function of this process that takes and returns words."""
        return self.b.call(ir.Function(self.module, ir.FunctionType(I64, [I64] * len(args)), name), args)

    def sum_of(self, base: Any, count: Any) -> Any:
        """base[0] + ... + base[count - 1], count being at least 1."""
        b = self.b
        before, loop, after = b.block, b.append_basic_block(), b.append_basic_block()
        b.branch(loop)
        b.position_at_end(loop)
        i, total = b.phi(I64), b.phi(I64)
        next_i, next_total = b.add(i, I64(1)), b.add(total, self.word(base, i))
        for phi, value in ((i, next_i), (total, next_total)):
            phi.add_incoming(I64(0), before)
            phi.add_incoming(value, loop)
        b.cbranch(b.icmp_unsigned("<", next_i, count), loop, after)
        b.position_at_end(after)
        return next_total
