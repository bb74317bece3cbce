"""When machine code is lent to the encoders, and that no byte depends on it or on threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgerun.backends.cpu.store import KernelStore
from edgerun.errors import ModelError
from edgerun.formats.lent import lent
from edgerun.gguf import open_gguf
from edgerun.gguf.writer import GGUFWriter
from quant import encoders as module
from quant.encoders import encoders
from quant.plan import Choices, Plan
from quant.quantize import quantize
from quant.recipes import RECIPES


def test_it_is_not_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KernelStore, "load", lambda *args: pytest.fail("compiles for a few weights"))
    monkeypatch.setattr(KernelStore, "missing", lambda self, names: names)
    for weights in (0, module._FETCHED - 1, module._FETCHED, module._COMPILED - 1):
        with encoders(weights):
            assert lent() is None


def model(path: Path, layers: int = 3) -> Path:
    rng = np.random.default_rng(0)
    with GGUFWriter(path) as writer:
        writer.add("general.architecture", "llama")
        writer.add("llama.block_count", layers)
        writer.add("tokenizer.ggml.tokens", ["a", "b\x00", "ü"])
        for layer in range(layers):
            writer.add_tensor(f"blk.{layer}.ffn_up.weight", rng.standard_normal((520, 512)).astype(np.float16))
            writer.add_tensor(f"blk.{layer}.attn_norm.weight", rng.standard_normal(512).astype(np.float32))
    return path


def test_no_byte_depends_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, told = model(tmp_path / "model.gguf"), []
    results = set()
    for fewest in (1 << 60, 0):
        monkeypatch.setattr(module, "_FETCHED", fewest)
        monkeypatch.setattr(module, "_COMPILED", fewest)
        for threads in (1, 3):
            with open_gguf(source) as file, encoders(1, lambda *phase: told.append(phase)):
                assert (lent() is None) == (fewest > 0)
                out = tmp_path / f"{threads}-{fewest}.gguf"
                quantize(file, Plan.of(file, RECIPES["Q4_K_M"], Choices()), out, threads=threads)
            assert lent() is None
            results.add(out.read_bytes())
    assert len(results) == 1
    assert all(what == "kernels" and 0 <= done <= of for what, done, of in told)


def test_weights_that_cannot_be_held_end_it(tmp_path: Path) -> None:
    """What was begun of the next tensor is not waited for, and nothing is left."""
    source, broken = model(tmp_path / "model.gguf"), tmp_path / "broken.gguf"
    with open_gguf(source) as file, GGUFWriter(broken) as writer:
        writer.add("general.architecture", "llama")
        writer.add("llama.block_count", 3)
        for name, tensor in file.tensors.items():
            rows = tensor.read().copy().reshape(-1).view(np.float16 if tensor.type == 1 else np.float32).reshape(tensor.shape)
            if name == "blk.1.ffn_up.weight":
                rows[300, 5] = np.nan
            writer.add_tensor(name, rows)
    with open_gguf(broken) as file, pytest.raises(ModelError, match=r"blk\.1\.ffn_up.* column 5 is nan"):
        quantize(file, Plan.of(file, RECIPES["Q8_0"], Choices()), tmp_path / "out.gguf", threads=2)
    assert [path.name for path in tmp_path.glob("out*")] == []


def test_arrays_are_copied_as_they_are_stored(tmp_path: Path) -> None:
    with open_gguf(model(tmp_path / "model.gguf")) as file:
        assert file.metadata.stored("llama.block_count") is None
        found = file.metadata.stored("tokenizer.ggml.tokens")
        assert found is not None
        assert found.decode() == ["a", "b\x00", "ü"]
        with GGUFWriter(tmp_path / "copy.gguf") as writer:
            writer.add("tokens", found)
        assert file.metadata["tokenizer.ggml.tokens"] == found.decode()
        assert file.metadata.stored("tokenizer.ggml.tokens") is None, "what was decoded is kept once"
    with open_gguf(tmp_path / "copy.gguf") as file:
        assert file.metadata["tokens"] == ["a", "b\x00", "ü"]
