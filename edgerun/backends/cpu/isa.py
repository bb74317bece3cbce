"""Which instructions the kernels may use on this machine. Knows no kernel; imports neither NumPy nor Numba.

An ISA is a name, the LLVM target that code is generated for, and the primitives that differ by it (see
`kernels/dot.py` and `kernels/fields.py`). Every kernel source serves all of them.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import sys

from edgerun import config
from edgerun.backends.cpu import arm
from edgerun.dataclass import dataclass
from edgerun.errors import UsageError


@dataclass(frozen=True)
class Isa:
    """name; needs: CPU features (LLVM names) without which the code would fault; cpu: LLVM's target, None for the host, and
    features that are used beyond those of that target; activation: bytes of a quantized activation
    (`kernels/activations.py`); superblocks: whether whole scales are multiplied in whole numbers (`kernels/superblock.py`); leans: whether
    dot products begin with what takes the bias off (`kernels/activations.py`)."""

    name: str
    needs: tuple[str, ...]
    cpu: str | None
    features: str = ""
    activation: int = 1
    superblocks: bool = False
    leans: bool = False


AVX512VNNI = Isa("avx512vnni", ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512vnni", "fma", "f16c"), None, leans=True)
AMX = Isa("amx", (*AVX512VNNI.needs, "avx512vbmi", "gfni", "amx-tile", "amx-int8"), None, activation=2, superblocks=True)
AVXVNNI = Isa("avxvnni", ("avx2", "fma", "f16c", "avxvnni"), "haswell", "+avxvnni")
AVX2 = Isa("avx2", ("avx2", "fma", "f16c"), "haswell")
NEONI8MM = Isa("neoni8mm", ("neon", "lse", "dotprod", "i8mm"), "generic", "+lse,+dotprod,+i8mm")
NEON = Isa("neon", ("neon", "lse", "dotprod"), "generic", "+lse,+dotprod")
MACHINE = platform.machine().lower()
PORTABLE = Isa("portable", (), "x86-64" if MACHINE in ("x86_64", "amd64") else "generic")
ALL = (AMX, AVX512VNNI, AVXVNNI, AVX2, NEONI8MM, NEON, PORTABLE)


@functools.cache
def host() -> tuple[str, str]:
    """LLVM's name of this CPU and its features as '+a,-b,...'."""
    import llvmlite.binding as llvm

    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


@functools.cache
def tiles_permitted() -> bool:
    """Ask the system to let this process use the tiles of AMX; whether it does (Linux, Documentation/arch/x86/xstate.rst)."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18
    return ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data) == 0


def runnable() -> list[Isa]:
    """The ISAs that this CPU can run, best first."""
    have = {f[1:] for f in host()[1].split(",") if f.startswith("+")} | (arm.features() if MACHINE in ("aarch64", "arm64") else set())
    return [isa for isa in ALL if have.issuperset(isa.needs) and (isa is not AMX or tiles_permitted())]


def choose() -> Isa:
    """The best ISA here, or the one that EDGERUN_ISA names (UsageError where this CPU cannot run it)."""
    wanted, here = config.isa(), runnable()
    for isa in here:
        if wanted in (None, isa.name):
            return isa
    raise UsageError(f"EDGERUN_ISA={wanted!r}: this CPU can run {', '.join(i.name for i in here)}")


def multiplies_pairs(isa: Isa) -> bool:
    """Whether code for it multiplies pairs of bfloat16 (AVX512_BF16) faster than floats: as fast as them where there is AMX."""
    return isa is AVX512VNNI and "+avx512bf16" in host()[1].split(",")


def target(isa: Isa) -> tuple[str, str]:
    """(LLVM cpu name, features) that code for `isa` is generated for."""
    return host() if isa.cpu is None else (isa.cpu, isa.features)
