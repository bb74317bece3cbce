from __future__ import annotations

import platform

import pytest

from edgerun.backends.cpu import isa as module
from edgerun.backends.cpu.isa import AMX, AVX2, AVX512VNNI, AVXVNNI, NEON, NEONI8MM, PORTABLE, choose, runnable, target
from edgerun.errors import UsageError

HASWELL = "+avx2,+fma,+f16c,-avx512f"
SKYLAKE = "+avx2,+fma,+f16c,+avx512f,+avx512bw,+avx512vl,+avx512dq,-avx512vnni"
ICELAKE = SKYLAKE.replace("-avx512vnni", "+avx512vnni")
SAPPHIRE = ICELAKE + ",+avx512vbmi,+gfni,+amx-tile,+amx-int8"
ALDERLAKE = HASWELL + ",+avxvnni"


@pytest.fixture
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A machine with these features."""
    features: str = request.param
    monkeypatch.setattr(module, "host", lambda: ("some-cpu", features))
    monkeypatch.setattr(module, "tiles_permitted", lambda: True)
    monkeypatch.setattr(module, "MACHINE", "x86_64")
    monkeypatch.delenv("EDGERUN_ISA", raising=False)
    return features


@pytest.mark.parametrize(
    ("host", "want"),
    [("", [PORTABLE]), ("+avx2,-fma", [PORTABLE]), (HASWELL, [AVX2, PORTABLE]), (SKYLAKE, [AVX2, PORTABLE]),
     (ALDERLAKE, [AVXVNNI, AVX2, PORTABLE]), (ICELAKE + ",+avxvnni", [AVX512VNNI, AVXVNNI, AVX2, PORTABLE]), (ICELAKE, [AVX512VNNI, AVX2, PORTABLE]),
      (SAPPHIRE, [AMX, AVX512VNNI, AVX2, PORTABLE])],
    indirect=["host"],
)
def test_what_a_cpu_can_run_best_first(host: str, want: list[module.Isa]) -> None:
    assert runnable() == want
    assert choose() == want[0]


@pytest.mark.parametrize("host", [SAPPHIRE], indirect=True)
def test_tiles_that_the_system_refuses_are_not_used(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "tiles_permitted", lambda: False)
    assert choose() == AVX512VNNI
    monkeypatch.setenv("EDGERUN_ISA", "amx")
    with pytest.raises(UsageError, match="can run avx512vnni"):
        choose()


def test_permission_for_tiles_is_asked_of_linux_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sys, "platform", "darwin")
    assert not module.tiles_permitted.__wrapped__()


@pytest.mark.parametrize("host", [""], indirect=True)
@pytest.mark.parametrize(
    ("system", "want"),
    [(set(), [PORTABLE]), ({"neon"}, [PORTABLE]), ({"neon", "lse", "dotprod"}, [NEON, PORTABLE]), ({"neon", "lse", "dotprod", "i8mm"}, [NEONI8MM, NEON, PORTABLE])],
)
def test_on_arm_the_system_is_asked(host: str, system: set[str], want: list[module.Isa], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.arm, "features", lambda: system)
    assert runnable() == [PORTABLE]
    for machine in ("aarch64", "arm64"):
        monkeypatch.setattr(module, "MACHINE", machine)
        assert runnable() == want


@pytest.mark.parametrize("host", [SAPPHIRE + ",+avxvnni"], indirect=True)
@pytest.mark.parametrize("isa", [AMX, AVX512VNNI, AVXVNNI, AVX2, PORTABLE], ids=lambda isa: isa.name)
def test_one_may_be_asked_for(host: str, isa: module.Isa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGERUN_ISA", isa.name)
    assert choose() == isa


@pytest.mark.parametrize("host", [HASWELL], indirect=True)
@pytest.mark.parametrize("wanted", ["avx512vnni", "neon", "AVX2", "\x1b[31m"])
def test_one_that_is_unknown_or_cannot_run_here_is_refused(host: str, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGERUN_ISA", wanted)
    with pytest.raises(UsageError, match="can run avx2, portable") as error:
        choose()
    assert str(error.value).isprintable()


@pytest.mark.parametrize("host", [ICELAKE], indirect=True)
def test_code_is_generated_for_the_host_or_for_any_machine_of_a_kind(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert target(AVX512VNNI) == ("some-cpu", ICELAKE)
    assert target(AVX2) == ("haswell", "")
    assert target(AVXVNNI) == ("haswell", "+avxvnni")
    assert target(NEON) == ("generic", "+lse,+dotprod")
    assert target(PORTABLE)[0] == ("x86-64" if platform.machine() in ("x86_64", "AMD64") else "generic")


def test_this_machine_can_run_something() -> None:
    assert runnable()[-1] == PORTABLE
