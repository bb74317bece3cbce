"""Child process of the compiler: python -m edgerun.backends.cpu.kernels FOLDER NAME... (see `backends/cpu/compiler.py`).

A kernel is named module-parameter-...: product-Q4_K, attention-f16-f16-3, row-norm-rms, run-step.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys

from edgerun.backends.cpu.kernels import REFUSED

SHAPES = {"run-step": (2, False), "run-work": (3, True)}   # number of int64 taken, and whether one is returned


def main() -> None:
    """Compile each kernel, write FOLDER/NAME.o as symbol, NUL, object; print its name."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from edgerun.backends.cpu.kernels import selftest
    from edgerun.backends.cpu.kernels.compiled import compile_object

    if fault := selftest.check():
        print(fault, file=sys.stderr)
        sys.exit(REFUSED)
    folder, *names = sys.argv[1:]
    for name in names:
        module, *parameters = name.split("-")
        build = importlib.import_module(f"edgerun.backends.cpu.kernels.{module}").build
        symbol, code = compile_object(build(*parameters), name, *SHAPES.get(name, (2, False)))
        with open(os.path.join(folder, f"{name}.o"), "wb") as file:
            file.write(symbol.encode() + b"\0" + code)
        sys.stdout.write(f"{name}\n")   # in one piece, even where Python does not buffer: others write to the same pipe
        sys.stdout.flush()


if __name__ == "__main__":
    main()
