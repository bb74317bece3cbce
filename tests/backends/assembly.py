"""Child process of `test_kernels_isa.py`: prints the assembly of one product, as compiled for the target in the environment."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from numba.core.codegen import CPUCodeLibrary

from edgerun.backends.cpu.kernels import activations, product, simd
from edgerun.backends.cpu.kernels.compiled import compile_object
from edgerun.backends.cpu.kernels.tile import TileOps
from edgerun.formats import by_name


def sums_of(fmt: str) -> Callable[[int, int], None]:
    """Kernel: the sums of one block of rows for one token. args: weights, activations, their scales, their sums, result."""
    sums, store = product.stretch(by_name(fmt).packing, 1, activations.PLAIN), TileOps(1).store

    def kernel(args: int, blocks: int) -> None:
        store(simd.word(args, 4), 64, sums(simd.word(args, 0), blocks, simd.word(args, 1), simd.word(args, 2), simd.word(args, 3)))

    return kernel


def main() -> None:
    """Arguments: the formats."""
    get_object = CPUCodeLibrary._get_compiled_object

    def shown(library: Any) -> bytes:
        print(library.get_asm_str())
        return get_object(library)

    CPUCodeLibrary._get_compiled_object = shown   # type: ignore[method-assign]
    for fmt in sys.argv[1:]:
        print("#", fmt)
        compile_object(sums_of(fmt), fmt, 2, False)


if __name__ == "__main__":
    main()
