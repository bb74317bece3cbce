"""Child process of `test_kernels_isa.py`: prints the assembly of products, for one token where that shows them, or of whole kernels, as compiled for a
triple and for the target in the environment.

    python assembly.py TRIPLE (FORMAT | KERNEL-PARAMETER...)...
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

from cross import pretend


def sums_of(fmt: str) -> Callable[[int, int], None]:
    """Kernel: the sums of one block of rows for one token. args: weights, activations, their scales, their sums, result, order.
    With AMX the whole product: its tiles are for 16 tokens."""
    from edgerun.backends.cpu.kernels import activations, product, simd
    from edgerun.backends.cpu.kernels.tile import TileOps
    from edgerun.formats import by_name

    if simd.ISA == "amx":
        return product.build(fmt)
    sums, store = product.stretch(by_name(fmt).packing, 1, activations.PLAIN), TileOps(1).store

    def kernel(args: int, blocks: int) -> None:
        store(simd.word(args, 4), 64, sums(simd.word(args, 0), blocks, simd.word(args, 1), simd.word(args, 2), simd.word(args, 3)))

    return kernel


def main() -> None:
    """Compile and print."""
    triple, *names = sys.argv[1:]
    compile_for = pretend(triple)
    for name in names:
        module, *parameters = name.split("-")
        function = importlib.import_module(f"edgerun.backends.cpu.kernels.{module}").build(*parameters) if parameters else sums_of(name)
        print("#", name)
        print(compile_for(function, name, 2, False)[2])


if __name__ == "__main__":
    main()
