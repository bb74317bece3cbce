"""The kernels that measure the machine have the instructions they are there for in their loops, and nothing that slows them down."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from edgerun.backends.cpu.compiler import environment
from edgerun.backends.cpu.isa import AVX2, AVX512VNNI, PORTABLE, Isa

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the instructions are those of x86-64")
NEWEST = "sapphirerapids"   # code is only read here, so it need not run on this machine
CASES: dict[str, tuple[Isa, str, str, int]] = {
    "avx512vnni": (replace(AVX512VNNI, cpu=NEWEST), "peak", r"vpdpbusd\s.*%zmm", 10),
    "amx": (replace(AVX512VNNI, name="amx", cpu=NEWEST), "peak", r"tdpbusd", 4),
    "avx2": (AVX2, "peak", r"vpmaddubsw\s.*%ymm", 4),
    "portable": (PORTABLE, "peak", r"pmaddwd|pmullw", 4),
    "reading": (AVX2, "read", r"prefetcht", 4),
}
CHILD = """
import sys
from edgerun.backends.cpu.kernels import probe
from edgerun.backends.cpu.kernels.compiled import Library, compile_object
real = Library.emit
Library.emit = lambda library: (real(library), print(library.get_asm_str()))[0]
compile_object(probe.build(sys.argv[1]), "probe", 2, False)
"""


@pytest.mark.parametrize(("isa", "kernel", "pattern", "least"), CASES.values(), ids=CASES)
def test_the_instruction_is_in_the_loop(isa: Isa, kernel: str, pattern: str, least: int) -> None:
    child = subprocess.run([sys.executable, "-P", "-c", CHILD, kernel], env=environment(isa), capture_output=True, text=True, timeout=100)
    assert child.returncode == 0, child.stderr
    loops = re.split(r"^\.LBB\w+:", child.stdout, flags=re.MULTILINE)
    assert max(len(re.findall(rf"^\s+(?:{pattern})", loop, re.MULTILINE)) for loop in loops) >= least
    assert "call" not in child.stdout
