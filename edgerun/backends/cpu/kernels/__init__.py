"""Kernels in Numba over LLVM vectors. Every module defines `build(*parameters)`, which returns a function of two
integers; a kernel is named `module` or `module-parameter-...`, and is compiled to machine code by `compiled.py`.

Nothing here is imported on a warm start: the stored machine code is linked without Numba.
"""

REFUSED = 3   # exit status of a compiling process: the ISA fails its own test, and the last line of stderr says how
