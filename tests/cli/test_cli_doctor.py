"""`edgerun doctor`: exact text of known facts, a form for programs, and nothing that tells who asks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import edgerun
from edgerun import machine
from edgerun.backends.cpu import ceilings as ceilings_module
from edgerun.backends.cpu.ceilings import Ceilings
from edgerun.bench import inspection
from edgerun.cli.doctor import report

Cli = Callable[..., Any]
TINY = Path(__file__).parents[1] / "golden" / "oracle" / "llama" / "model.gguf"

FACTS: dict[str, Any] = {
    "system": {
        "edgerun": "1.2.3", "python": "3.12.1", "system": "Linux 6.1", "machine": "x86_64",
        "packages": {"numpy": "2.0", "numba": None}, "environment": ["EDGERUN_ISA"],
    },
    "cpu": {
        "name": "A Fast CPU", "llvm": "znver4", "features": ["avx2", "fma"], "cores": 16, "allowed": 8, "quota": 2.5, "threads": 2,
        "threads_reason": "control group quota of 2.5 cores",
        "caches": [{"level": 1, "holds": "Data", "bytes": 48 << 10, "shared_by": 1}, {"level": 3, "holds": "Unified", "bytes": 32 << 20, "shared_by": 8}],
    },
    "kernels": {
        "isa": "avx2", "reason": "the best that this CPU can run", "runnable": ["avx2", "portable"], "unavailable": {"avx512vnni": ["avx512vnni"]},
        "folder": "~/.cache/edgerun/kernels", "compiled": 14, "bytes": 1_234_567, "broken": 1, "other_folders": 2, "other_bytes": 50_000,
    },
    "memory": {"available": 12_340_000_000, "reason": "free memory of this machine", "huge_pages": "madvise"},
    "limits": [
        {"threads": 1, "isa": "avx2", "read": 11.04e9, "macs": 150e9},
        {"threads": 2, "isa": "avx2", "read": 20e9, "macs": 300e9},
    ],
    "models": [{"place": "hub cache", "models": 2, "bytes": 500_000_000}],
    "model": {
        "kind": "llama 135M Q4_1", "file_bytes": 96_600_000, "context": 8192, "memory": 369_800_000, "threads": 2,
        "weight_bytes_per_token": 100_000_000, "kv_bytes_per_position": 23_040.0, "macs_per_token": 134_500_000,
        "decode_limit": "reading memory", "decode_predicted": 200.0, "decode_measured": 150.0,
        "prefill_limit": "multiplying", "prefill_predicted": 2000.0, "prefill_measured": 1000.0, "in_cache": False,
    },
}  # fmt: skip

GPU: dict[str, Any] = {
    "name": "Fast GPU 9000", "kind": "discrete", "backend": "Vulkan", "driver": "1.2.3", "wgpu": "0.32.0 (wgpu-native 29.0.1.1)", "by_default": True,
    "features": ["clear-texture", "shader-f16", "subgroup"], "memory": {"available": 8_000_000_000, "reason": "free memory of the GPU"},
    "limits": {
        "max-buffer-size": 4_000_000_000, "max-storage-buffer-binding-size": 2_000_000_000, "max-storage-buffers-per-shader-stage": 16,
        "max-compute-invocations-per-workgroup": 1024, "max-compute-workgroup-storage-size": 49152, "max-compute-workgroups-per-dimension": 65535,
        "min-storage-buffer-offset-alignment": 32,
    },
    "faults": [], "deaths": 0, "figures": {"copy": 500e9, "matvec Q4_K": 300e9, "matvec Q8_0": 400e9, "CPU reads": 40e9},
}  # fmt: skip
GPU_TEXT = """\
GPU 1
  name             Fast GPU 9000
  is               discrete, through Vulkan; taken by itself
  driver           1.2.3; wgpu 0.32.0 (wgpu-native 29.0.1.1)
  features         shader-f16 subgroup
  limits           4.00 GB in a buffer, 2.00 GB bound, 16 buffers, 1024 lanes and 48 KiB in a workgroup
  memory           8.00 GB (free memory of the GPU)
  self-test        passed
  copies           500.0 GB/s, read and written
  multiplies       Q4_K 300.0 GB/s, Q8_0 400.0 GB/s; at most 80% of what it copies

GPU 2
  name             evil\\x1b[2J
  is               software, through OpenGL; used only by its name
  driver           not known; wgpu 0.32.0
  features         none that matter
  limits           4.00 GB in a buffer, 2.00 GB bound, 16 buffers, 1024 lanes and 48 KiB in a workgroup
  memory           nobody tells; EDGERUN_GPU_MEMORY=8G would
  self-test        failed: Q6_K matvec
                   argmax
  runs that died   2"""

TEXT = """\
System
  edgerun          1.2.3
  runs on          Python 3.12.1, Linux 6.1, x86_64
  packages         numpy 2.0, numba missing
  variables set    EDGERUN_ISA

CPU
  name             A Fast CPU (LLVM: znver4)
  features         avx2 fma
  caches           L1d 48 KiB, L3 32 MiB for 8
  cores            16, 8 of them allowed to this process
  quota            2.5 cores
  threads          2: control group quota of 2.5 cores

Kernels
  instruction set  avx2: the best that this CPU can run
  could run        avx2, portable
  cannot run       avx512vnni needs avx512vnni
  compiled         14 kernels, 1.2 MB, in ~/.cache/edgerun/kernels
  damaged          1 kernel, compiled anew when needed
  besides          2 folders of other versions or instruction sets, 50.0 kB

Memory
  available        12.34 GB (free memory of this machine)
  huge pages       madvise

Limits, measured now
  1 thread         reads 11.0 GB/s, multiplies 150 GMAC/s (avx2)
  2 threads        reads 20.0 GB/s, multiplies 300 GMAC/s (avx2)

Models here
  hub cache        2 files, 500.0 MB

Model llama 135M Q4_1
  size             96.6 MB; 369.8 MB of memory at a context of 8192
  a token reads    100.0 MB of weights, and 23.0 kB for each token before it
  and multiplies   134.5 million times
  answer           limited by reading memory: 200.0 tokens/s predicted, 150.0 measured (75%) with 2 threads
  prompt           limited by multiplying: 2000.0 tokens/s predicted, 1000.0 measured (50%)"""


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine whose limits are known, and models in the reference backend."""
    real = edgerun.load
    monkeypatch.setattr(ceilings_module, "ceilings", lambda threads, fresh=False: Ceilings(threads, "avx2", 10e9 * threads, 100e9 * threads))
    monkeypatch.setattr(edgerun, "load", lambda ref, **options: real(TINY, **options | {"backend": "reference"}), raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "someone" / "hf"))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)


def test_the_text() -> None:
    assert report(FACTS) == TEXT


def test_what_is_not_known_is_left_out() -> None:
    facts = json.loads(json.dumps(FACTS))
    del facts["model"]
    facts["models"] = []
    facts["system"]["environment"] = []
    facts["cpu"] |= {"name": "", "features": [], "caches": [], "quota": None}
    facts["kernels"] |= {"unavailable": {}, "compiled": 0, "broken": 0, "other_folders": 0}
    facts["memory"]["huge_pages"] = ""
    text = report(facts)
    for line in ("variables set    none of edgerun's", "name             not known (LLVM: znver4)", "features         none that matter", "caches           not known",
                 "quota            none", "compiled         none yet in ~/.cache/edgerun/kernels", "huge pages       not known", "Models here\n  none"):  # fmt: skip
        assert line in text
    for word in ("cannot run", "damaged", "besides", "Model llama"):
        assert word not in text


def test_gpus() -> None:
    bad = GPU | {
        "name": "evil\x1b[2J", "kind": "software", "backend": "OpenGL", "driver": "", "wgpu": "0.32.0", "by_default": False, "features": [],
        "memory": None, "faults": ["Q6_K matvec", "argmax"], "deaths": 2, "figures": {},
    }  # fmt: skip
    text = report(FACTS | {"gpus": {"devices": [GPU, bad], "missing": None}})
    assert text.replace(GPU_TEXT + "\n\n", "") == TEXT
    none = report(FACTS | {"gpus": {"devices": [], "missing": "wgpu is not installed; pip install 'edgerun[gpu]'"}})
    assert "\n\nGPU\n  none             wgpu is not installed; pip install 'edgerun[gpu]'\n\nModels here" in none


def test_gpus_of_this_machine(cli: Cli, known: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every one is tested afresh, whatever is known of it."""
    from edgerun.backends.gpu import device, memory, selftest
    from edgerun.backends.gpu.selftest import Outcome

    facts = device.Facts("Fast GPU 9000", "discrete", "1.2.3", "Vulkan", "0.32.0", GPU["limits"], frozenset(GPU["features"]))
    tried: list[str] = []
    monkeypatch.setattr(device, "adapters", lambda: [device.Adapter(facts, None)])
    monkeypatch.setattr(memory, "memory", lambda facts: None)
    monkeypatch.setattr(selftest, "selftest", lambda facts: Outcome((), {"copy": 1e9}) if tried.append(facts.name) is None else Outcome())
    for _ in range(2):
        result = cli("doctor", "--gpu", "--json")
        assert (result.code, result.err) == (0, "")
        (found,) = json.loads(result.out)["gpus"]["devices"]
        assert set(found) == set(GPU)
        assert found["figures"] == {"copy": 1e9, "CPU reads": 10e9 * machine.threads().count}
    assert len(tried) == 2


def test_names_from_outside_are_made_visible() -> None:
    text = report(FACTS | {"cpu": FACTS["cpu"] | {"name": "evil\x1b[2J\nCPU"}})
    assert "name             evil\\x1b[2J\\nCPU (LLVM: znver4)\n" in text


def test_this_machine(cli: Cli, known: None, home: Path) -> None:
    result = cli("doctor")
    assert (result.code, result.err) == (0, "")
    assert [line for line in result.out.splitlines() if line and line[0] != " "] == ["System", "CPU", "Kernels", "Memory", "Limits, measured now", "Models here"]
    assert "reads 10.0 GB/s, multiplies 100 GMAC/s (avx2)" in result.out


def test_for_programs_with_a_model(cli: Cli, known: None) -> None:
    result = cli("doctor", "-m", "tiny", "-t", "1", "--json")
    assert (result.code, result.err) == (0, "")
    facts = json.loads(result.out)
    assert set(facts) == set(FACTS)
    for section in ("system", "cpu", "kernels", "memory", "model"):
        assert set(facts[section]) == set(FACTS[section]), section
    assert facts["limits"] == [{"threads": 1, "isa": "avx2", "read": 10e9, "macs": 100e9}]
    assert facts["model"]["decode_predicted"] > facts["model"]["decode_measured"] > 0
    assert report(facts).startswith("System\n")


def test_nothing_tells_who_asks(cli: Cli, known: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("EDGERUN_HOME", "/home/someone/edge")
    monkeypatch.setattr("edgerun.config.kernels_folder", lambda: Path("/home/someone/edge/kernels"))
    for result in (cli("doctor"), cli("doctor", "--json")):
        assert result.code == 0
        assert "someone" not in result.out
        assert "$EDGERUN_HOME/kernels" in result.out


@pytest.mark.parametrize(("path", "text"), [
    ("/home/someone/.cache/x", "~/.cache/x"), ("/srv/of/someone/kernels", ".../kernels"), ("/data/edge/kernels", "$EDGERUN_HOME/kernels"),
    ("/home/someone-else/x", ".../x"),
])  # fmt: skip
def test_paths_for_strangers(path: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("EDGERUN_HOME", "/data/edge")
    assert inspection.shown(Path(path)) == text


def test_an_instruction_set_that_there_is_not(cli: Cli, known: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGERUN_ISA", "sse9")
    result = cli("doctor")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("edgerun: EDGERUN_ISA='sse9': this CPU can run")


def test_one_that_was_asked_for(cli: Cli, known: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGERUN_ISA", "portable")
    assert "instruction set  portable: EDGERUN_ISA asks for it" in cli("doctor").out
