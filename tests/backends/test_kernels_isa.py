"""The instructions that each ISA is there for are in the code, and those that its machines lack are not."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgerun.backends.cpu.compiler import environment
from edgerun.backends.cpu.isa import ALL, AMX, AVX2, AVX512VNNI, AVXVNNI, NEON, NEONI8MM, PORTABLE, Isa, runnable

FORMATS = ("Q4_0", "Q8_0", "IQ4_NL")
INTEL = "sapphirerapids"   # whose memory the code is for: others are asked in other orders
X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
WIDTH = {AMX: "%zmm", AVX512VNNI: "%zmm", AVXVNNI: "%ymm", AVX2: "%ymm", PORTABLE: "%xmm"}   # what holds the sums


@pytest.fixture(scope="module")
def assembly() -> dict[Isa, dict[str, str]]:
    """The instructions of one product in each format, one kind of machine beside the other; none of them need be here."""
    child = [sys.executable, str(Path(__file__).with_name("assembly.py"))]
    isas = {isa: ARM if isa in (NEON, NEONI8MM) else X86 for isa in ALL if (isa.cpu and isa != PORTABLE) or isa in runnable()}
    if PORTABLE.cpu == "generic":
        del isas[PORTABLE]   # it has another machine's settings here
    children = {isa: subprocess.Popen([*child, triple, *FORMATS], env=environment(isa, core=INTEL), stdout=subprocess.PIPE, text=True) for isa, triple in isas.items()}
    texts = {isa: child.communicate(timeout=100)[0] for isa, child in children.items()}
    assert all(child.returncode == 0 for child in children.values())
    return {isa: dict(zip(FORMATS, re.split(r"^# \w+$", text, flags=re.MULTILINE)[1:], strict=True)) for isa, text in texts.items()}


def count(pattern: str, text: str) -> int:
    """Instructions that match."""
    return len(re.findall(rf"^\s+(?:\{{\w+\}}\s+)?(?:{pattern})", text, re.MULTILINE))


@pytest.mark.skipif(AMX not in runnable(), reason="its code is generated for the host, which lacks it")
@pytest.mark.parametrize("fmt", FORMATS)
def test_amx_multiplies_tiles_and_lone_tokens_by_vectors(assembly: dict[Isa, dict[str, str]], fmt: str) -> None:
    code = assembly[AMX][fmt]
    assert count("ldtilecfg", code) == count("tilerelease", code) == 1
    assert count("tdpbsud", code) == (2 if fmt == "Q4_0" else 4)   # a tile where weights can be shifted, else one for each half
    assert count("tileloadd", code) == count("tdpbsud", code) + 2
    assert count(r"vpdpbusd.*%zmm", code) >= 16
    assert count("vgf2p8affineqb", code) >= (4 if fmt == "Q4_0" else 0)   # the upper half of each byte, in one step


@pytest.mark.skipif(AVX512VNNI not in runnable(), reason="its code is generated for the host, which lacks it")
@pytest.mark.parametrize("fmt", FORMATS)
def test_avx512vnni_multiplies_64_bytes_at_once(assembly: dict[Isa, dict[str, str]], fmt: str) -> None:
    code = assembly[AVX512VNNI][fmt]
    assert count(r"vpdpbusd.*%zmm", code) >= 8
    assert count("vpmaddubsw", code) == 0
    assert count(r"vcvtph2ps.*%zmm", code) >= 1
    assert count(r"vfmadd.*%zmm", code) >= 1


def test_attention_multiplies_pairs_of_bfloat16() -> None:
    """24 queries with the vectors of both keys and values, without moving one to memory and back, and a few for a row alone."""
    command = [sys.executable, str(Path(__file__).with_name("assembly.py")), X86, "attention-f16-f16-3-pairs"]
    child = subprocess.run(command, env=environment(replace(AVX512VNNI, cpu="znver4"), core="znver4"), capture_output=True, text=True, timeout=100, check=True)
    loops = [loop for loop in re.split(r"^\.LBB\w+:", child.stdout, flags=re.MULTILINE) if count(r"vdpbf16ps\s.*%zmm", loop) >= 24]
    assert len(loops) >= 2
    for loop in loops:
        assert count(r"vcvtne2ps2bf16\s.*%zmm", loop) >= 1
        assert count(r"vfmadd", loop) == 0


@pytest.mark.parametrize("fmt", FORMATS)
def test_avxvnni_multiplies_32_bytes_at_once(assembly: dict[Isa, dict[str, str]], fmt: str) -> None:
    code = assembly[AVXVNNI][fmt]
    assert len(re.findall(r"^\s+\{vex\}\s+vpdpbusd\s.*%ymm", code, re.MULTILINE)) >= 16
    assert count("vpdpbusd", code) == len(re.findall(r"\{vex\}\s+vpdpbusd", code))
    assert count("vpmaddubsw", code) == 0
    assert count(r".*(%zmm|%k[0-7]|%[xy]mm(1[6-9]|2\d|3[01]))", code) == 0


@pytest.mark.parametrize("fmt", FORMATS)
def test_avx2_multiplies_32_bytes_at_once(assembly: dict[Isa, dict[str, str]], fmt: str) -> None:
    code = assembly[AVX2][fmt]
    assert count(r"vpmaddubsw.*%ymm", code) >= 16
    assert count(r"vpmaddwd.*%ymm", code) >= (4 if fmt == "Q4_0" else 16)   # pairs of 4-bit codes are added before
    assert count(r"vpsignb.*%ymm", code) >= (0 if fmt == "Q4_0" else 16)
    assert count(r"vfmadd.*%ymm", code) >= 1
    assert count(r"vcvtph2ps.*%ymm", code) >= 1
    assert count(r".*(%zmm|%k[0-7]|vpdp)", code) == 0


@pytest.mark.parametrize("isa", [NEON, NEONI8MM], ids=lambda isa: isa.name)
@pytest.mark.parametrize("fmt", FORMATS)
def test_neon_multiplies_16_bytes_at_once(assembly: dict[Isa, dict[str, str]], fmt: str, isa: Isa) -> None:
    code = assembly[isa][fmt]
    unsigned = isa == NEONI8MM and fmt != "Q4_0"
    assert count(r"sdot\s.*\.4s, .*\.16b, .*\.4b\[", code) >= (0 if unsigned else 32)   # four bytes of x picked by the instruction
    assert count(r"usdot\s.*\.4s, .*\.16b, .*\.4b\[", code) >= (32 if unsigned else 0)
    assert count("usdot" if isa == NEON else "nothing", code) == 0
    assert count(r"fcvtl\s", code) >= 1
    assert count(r"fmla\s.*\.4s", code) >= 1


@pytest.mark.skipif(PORTABLE.cpu == "generic", reason="its code is generated for this machine, which is none of x86-64")
@pytest.mark.parametrize("fmt", FORMATS)
def test_portable_needs_nothing_beyond_sse2(assembly: dict[Isa, dict[str, str]], fmt: str) -> None:
    code = assembly[PORTABLE][fmt]
    assert count("pmaddwd|pmullw", code) >= 1
    assert count(r".*(%ymm|%zmm|vpdp|vfmadd|cvtph2ps|pshufb|ptest)", code) == 0
    assert count(r"v[a-z]", code) == 0


def test_a_table_is_looked_up_with_a_shuffle_of_bytes(assembly: dict[Isa, dict[str, str]]) -> None:
    for isa in assembly.keys() - {PORTABLE}:
        shuffle = rf"{'vpermb' if isa is AMX else 'vpshufb'}.*{WIDTH[isa]}" if isa in WIDTH else r"tbl\s.*\.16b"
        assert count(shuffle, assembly[isa]["IQ4_NL"]) >= 8
        assert count(shuffle, assembly[isa]["Q4_0"]) == 0


@pytest.mark.skipif(AVX512VNNI not in runnable(), reason="its code is generated for the host, which lacks it")
@pytest.mark.parametrize("fmt", FORMATS)
def test_weights_are_asked_for_between_products(assembly: dict[Isa, dict[str, str]], fmt: str) -> None:
    """A pair of lines at a time, or a few where there are more pairs than turns: LLVM would put all of them first (`simd.ordered`)."""
    for isa in assembly.keys() & {AMX, AVX512VNNI}:
        steps = re.findall(r"^\s+(vpdpbusd|prefetcht1)\b", assembly[isa][fmt], re.MULTILINE)
        runs = [len(run) for run in re.findall("p+", "".join(step[0] if step == "prefetcht1" else "-" for step in steps))]
        assert len(runs) >= 2, isa.name
        assert max(runs) <= (6 if fmt == "Q8_0" else 4), (isa.name, runs)


@pytest.mark.skipif(AMX not in runnable(), reason="its code is generated for the host, which lacks it")
@pytest.mark.parametrize("fmt", FORMATS)
def test_a_product_of_one_token_finds_its_activations_at_one_register(assembly: dict[Isa, dict[str, str]], fmt: str) -> None:
    """`simd.one_register`: of a sum of two, the core makes two steps."""
    code, each = assembly[AMX][fmt], 16   # products of a token and 32 columns; for 4, 2 and 1 tokens at a time
    assert count(r"vpdpbusd\s+-?\d*\(%\w+\)", code) >= 3 * each
    assert count(r"vpdpbusd\s+-?\d*\(%\w+,%\w+", code) <= (3 + 1) * each   # of all but the first token


def test_no_code_calls_anything(assembly: dict[Isa, dict[str, str]]) -> None:
    for isa, texts in assembly.items():
        for fmt, code in texts.items():
            assert not re.findall(r"^\s+(?:callq?\s+[^*\s]|bl\s).*", code, re.MULTILINE), (isa.name, fmt)
            assert len(re.findall(r"^\s+(?:callq?\s+\*|blr\s)", code, re.MULTILINE)) <= 2, (isa.name, fmt)   # `repack` and `pread` (panel.py)
