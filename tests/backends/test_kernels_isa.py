"""The instructions that each ISA is there for are in the code, and those that its machines lack are not."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgerun.backends.cpu.compiler import environment
from edgerun.backends.cpu.isa import ALL, AVX2, AVX512VNNI, PORTABLE, Isa, runnable

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the instructions are those of x86-64")
FORMATS = ("Q4_0", "Q8_0", "IQ4_NL")


@pytest.fixture(scope="module")
def assembly() -> dict[Isa, dict[str, str]]:
    """The instructions of one product in each format, one kind of machine beside the other."""
    child = [sys.executable, "-P", str(Path(__file__).with_name("assembly.py")), *FORMATS]
    isas = [isa for isa in ALL if isa.cpu or isa in runnable()]
    children = {isa: subprocess.Popen(child, env=environment(isa), stdout=subprocess.PIPE, text=True) for isa in isas}
    texts = {isa: child.communicate(timeout=100)[0] for isa, child in children.items()}
    assert all(child.returncode == 0 for child in children.values())
    return {isa: dict(zip(FORMATS, re.split(r"^# \w+$", text, flags=re.MULTILINE)[1:], strict=True)) for isa, text in texts.items()}


def count(pattern: str, text: str) -> int:
    """Instructions that match."""
    return len(re.findall(rf"^\s+(?:\{{\w+\}}\s+)?(?:{pattern})", text, re.MULTILINE))


@pytest.mark.skipif(AVX512VNNI not in runnable(), reason="its code is generated for the host, which lacks it")
@pytest.mark.parametrize("fmt", FORMATS)
def test_avx512vnni_multiplies_64_bytes_at_once(assembly: dict[Isa, dict[str, str]], fmt: str) -> None:
    code = assembly[AVX512VNNI][fmt]
    assert count(r"vpdpbusd.*%zmm", code) >= 8
    assert count("vpmaddubsw", code) == 0
    assert count(r"vcvtph2ps.*%zmm", code) >= 1
    assert count(r"vfmadd.*%zmm", code) >= 1


@pytest.mark.parametrize("fmt", FORMATS)
def test_avx2_multiplies_32_bytes_at_once(assembly: dict[Isa, dict[str, str]], fmt: str) -> None:
    code = assembly[AVX2][fmt]
    assert count(r"vpmaddubsw.*%ymm", code) >= 16
    assert count(r"vpmaddwd.*%ymm", code) >= 16
    assert count(r"vfmadd.*%ymm", code) >= 1
    assert count(r"vcvtph2ps.*%ymm", code) >= 1
    assert count(r".*(%zmm|%k[0-7]|vpdp)", code) == 0


@pytest.mark.parametrize("fmt", FORMATS)
def test_portable_needs_nothing_beyond_sse2(assembly: dict[Isa, dict[str, str]], fmt: str) -> None:
    code = assembly[PORTABLE][fmt]
    assert count("pmaddwd|pmullw", code) >= 1
    assert count(r".*(%ymm|%zmm|vpdp|vfmadd|cvtph2ps|pshufb|ptest)", code) == 0
    assert count(r"v[a-z]", code) == 0


def test_a_table_is_looked_up_with_a_shuffle_of_bytes(assembly: dict[Isa, dict[str, str]]) -> None:
    wide = {AVX512VNNI: "%zmm", AVX2: "%ymm"}
    for isa in assembly.keys() & wide.keys():
        assert count(rf"vpshufb.*{wide[isa]}", assembly[isa]["IQ4_NL"]) >= 8
        assert count(rf"vpshufb.*{wide[isa]}", assembly[isa]["Q4_0"]) == 0


def test_no_code_calls_anything(assembly: dict[Isa, dict[str, str]]) -> None:
    for isa, texts in assembly.items():
        for fmt, code in texts.items():
            assert not re.findall(r"^\s+callq?\s.*", code, re.MULTILINE), (isa.name, fmt)
