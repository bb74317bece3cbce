"""What an ARM CPU can do, in LLVM's names, asked of the operating system. Knows no ISA.

LLVM is asked too (`isa.py`), but by version and system it does not name all of them. Linux: bits of getauxval (asm/hwcap.h); macOS:
sysctl hw.optional.arm.*.
"""

from __future__ import annotations

import ctypes
import sys

_HWCAP, _HWCAP2 = 16, 26
_LINUX = {"neon": (_HWCAP, 1), "lse": (_HWCAP, 8), "dotprod": (_HWCAP, 20), "i8mm": (_HWCAP2, 13)}
_MACOS = {"neon": "AdvSIMD", "lse": "FEAT_LSE", "dotprod": "FEAT_DotProd", "i8mm": "FEAT_I8MM"}


def features() -> set[str]:
    """Those of neon, lse, dotprod and i8mm that this CPU has; none on a system that is not known here."""
    if sys.platform.startswith("linux"):
        return _linux()
    return _macos() if sys.platform == "darwin" else set()


def _linux() -> set[str]:
    getauxval = ctypes.CDLL(None).getauxval
    getauxval.restype, getauxval.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
    return {name for name, (word, bit) in _LINUX.items() if getauxval(word) >> bit & 1}


def _macos() -> set[str]:
    sysctl = ctypes.CDLL(None).sysctlbyname

    def has(name: str) -> bool:
        value, size = ctypes.c_int(0), ctypes.c_size_t(4)
        failed = sysctl(b"hw.optional.arm." + name.encode(), ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0))
        return not failed and value.value == 1

    return {name for name, key in _MACOS.items() if has(key)}
