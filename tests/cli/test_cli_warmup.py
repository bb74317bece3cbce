"""`edgerun warmup`: what it says, and what it asks for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgerun import api

Cli = Callable[..., Any]
TINY = Path(__file__).parents[1] / "golden" / "oracle" / "llama" / "model.gguf"


@pytest.fixture
def warmed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """How often there was something to do; `answers` kernels at a time."""
    calls = list[Any]()

    def warmup(ref: str, kv: str, progress: Any) -> int:
        calls.append((ref, kv))
        progress("kernels", 0, 2)
        return [7, 1, 0][len(calls) - 1]

    monkeypatch.setattr(api, "warmup", warmup)
    return calls


def test_one_line(cli: Cli, warmed: list[Any]) -> None:
    assert cli("warmup", "m.gguf") == cli_result("m.gguf: compiled 7 kernels; it is ready\n")
    assert cli("warmup", "m.gguf", "-ctk", "f32") == cli_result("m.gguf: compiled 1 kernel; it is ready\n")
    assert cli("warmup") == cli_result("smollm2:135m: nothing to do, it is ready\n")
    assert warmed == [("m.gguf", "f16"), ("m.gguf", "f32"), ("smollm2:135m", "f16")]


def cli_result(out: str) -> Any:
    class Same:
        def __eq__(self, other: Any) -> bool:
            return (other.code, other.out, other.err) == (0, out, "")

    return Same()


def test_a_model_file(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way, but for the compiler and the weights."""
    path = shutil.copy(TINY, tmp_path)
    monkeypatch.setattr("edgerun.gguf.tensor.Tensor.read", lambda *_: pytest.fail("a weight was read"))
    asked, kept = list[set[str]](), set[str]()
    monkeypatch.setattr("edgerun.backends.cpu.store.KernelStore.missing", lambda self, names: sorted(set(names) - kept))
    monkeypatch.setattr("edgerun.backends.cpu.store.KernelStore.load", lambda self, names, progress: asked.append(set(names)) or kept.update(names))
    result = cli("warmup", path)
    assert (result.code, result.out) == (0, f"{path}: compiled {len(asked[0])} kernels; it is ready\n")
    assert {"run-step", "run-work", "store-f16-f16", "merge-f16", "probe-read", "product_float-f32"} <= asked[0]
    assert cli("warmup", path).out == f"{path}: nothing to do, it is ready\n"


def test_errors(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_text("nonsense")
    assert cli("warmup", str(tmp_path / "no.gguf")).code == 3
    assert cli("warmup", str(tmp_path / "nothing.gguf")).code == 3
    result = cli("warmup", str(TINY), "-ctk", "x")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("edgerun: kv 'x' is not known; use one of")
