"""Adapter files: applied beside a model, several at once, and refused in one line where they do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgerun
from edgerun.adapter import Adapter, joined
from edgerun.errors import GGUFError, ModelError, Unsupported, UsageError
from edgerun.formats import by_id
from edgerun.gguf import open_gguf
from edgerun.gguf.writer import GGUFWriter

LLAMA = Path(__file__).parent / "golden" / "oracle" / "llama" / "model.gguf"
NAME = "blk.0.ffn_up.weight"
IDS = [3, 1, 4, 1, 5, 9, 2, 6]


def shape(name: str) -> tuple[int, ...]:
    with open_gguf(LLAMA) as file:
        return file.tensors[name].shape


def pair(name: str, rank: int, seed: int = 0) -> dict[str, np.ndarray]:
    rows, cols = shape(name)
    draw = np.random.default_rng(seed)
    a, b = draw.normal(0, 1, (rank, cols)).astype(np.float32), draw.normal(0, 0.1, (rows, rank)).astype(np.float32)
    return {f"{name}.lora_a": a, f"{name}.lora_b": b}


def write(path: Path, tensors: dict[str, np.ndarray], alpha: Any = 8.0, **keys: Any) -> Path:
    """An adapter file; keys with _ for the dots."""
    values = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": alpha}
    values |= {key.replace("_", "."): value for key, value in keys.items()}
    with GGUFWriter(path) as writer:
        for key, value in values.items():
            if value is not None:
                writer.add(key, value)
        for name, array in tensors.items():
            writer.add_tensor(name, array)
    return path


def changed(path: Path, deltas: dict[str, np.ndarray]) -> Path:
    """The model with other weights."""
    with open_gguf(LLAMA) as file, GGUFWriter(path) as writer:
        for key in file.metadata:
            if key != "general.alignment":
                writer.add(key, file.metadata[key])
        for name, tensor in file.tensors.items():
            values = by_id(tensor.type).dequantize(tensor.read()).reshape(tensor.shape)
            writer.add_tensor(name, (values + deltas.get(name, 0)).astype(np.float32))
    return path


def logits(path: Path, **options: Any) -> np.ndarray:
    with edgerun.load(path, context=64, backend="reference", **options) as llm:
        return llm.logits(IDS).astype(np.float64)


def off(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a - b) ** 2).sum() / (b**2).sum())


def test_several_adapters_add_up(tmp_path: Path) -> None:
    other = "blk.1.attn_q.weight"
    one, two = pair(NAME, 4) | pair(other, 2, 1), pair(NAME, 3, 2)
    first = write(tmp_path / "one.gguf", one)
    second = write(tmp_path / "two.gguf", {name: value.astype(np.float16) for name, value in two.items()}, alpha=0.0)
    halves = {name: value.astype(np.float16).astype(np.float32) for name, value in two.items()}
    deltas = {NAME: 0.5 * 8 / 4 * one[f"{NAME}.lora_b"] @ one[f"{NAME}.lora_a"] - 2.0 * halves[f"{NAME}.lora_b"] @ halves[f"{NAME}.lora_a"]}
    deltas[other] = 0.5 * 8 / 2 * one[f"{other}.lora_b"] @ one[f"{other}.lora_a"]
    want = logits(changed(tmp_path / "changed.gguf", deltas))
    assert off(logits(LLAMA, lora=[(first, 0.5), (str(second), -2)]), want) < 1e-11
    assert off(logits(LLAMA), want) > 1e-3
    assert off(logits(LLAMA, lora=str(first)), logits(LLAMA, lora=[first])) == 0


def test_a_loaded_model_says_by_what_it_is_changed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gguf", pair(NAME, 4))
    with edgerun.load(LLAMA, context=64, lora=(path, path)) as llm:
        assert llm.describe()["lora"] == [{"file": str(path), "scale": 1.0}] * 2
        weights = llm.plan.weights
    with edgerun.load(LLAMA, context=64) as llm:
        assert llm.describe()["lora"] == []
        assert weights > llm.plan.weights


@pytest.mark.parametrize("start", range(0, 14, 3))
def test_any_rows_of_joined_stacks_can_be_read(tmp_path: Path, start: int) -> None:
    draw = np.random.default_rng(3)
    stacks = [(draw.normal(0, 1, (2, rank, 8)).astype(np.float32), draw.normal(0, 1, (2, 5, rank)).astype(np.float32)) for rank in (3, 4)]
    paths = [write(tmp_path / f"{i}.gguf", {"w.lora_a": a, "w.lora_b": b}, alpha=2.0) for i, (a, b) in enumerate(stacks)]
    with open_gguf(paths[0]) as first, open_gguf(paths[1]) as second:
        pairs, sides = joined([Adapter.of(first), Adapter.of(second, -1.5)], "llama", {"w": (2, 5, 8)})
        a = np.concatenate([a for a, _ in stacks], 1).reshape(-1, 8)
        b = np.concatenate([stacks[0][1] * np.float32(2 / 3), stacks[1][1] * np.float32(-1.5 * 2 / 4)], 2).reshape(-1, 7)
        assert pairs["w"].rank == 7
        for name, wanted in (("w.lora_a", a), ("w.lora_b", b)):
            side = sides[name]
            assert side.nbytes == wanted.nbytes
            for stop in range(start, len(wanted) + 1):
                assert np.array_equal(side.read(start, stop).view(np.float32), wanted[start:stop])
            assert np.array_equal(side.read().view(np.float32), wanted)


def lost(tensors: dict[str, np.ndarray], end: str) -> dict[str, np.ndarray]:
    return {name: value for name, value in tensors.items() if not name.endswith(end)}


X = np.ones((2, 2), np.float32)


@pytest.mark.parametrize(
    ("tensors", "keys", "kind", "message"),
    [
        (None, {"general_type": "model"}, ModelError, r"is not an adapter \(general\.type is model\); edgerun convert makes one"),
        (None, {"general_type": None}, ModelError, r"is not an adapter \(general\.type is None\)"),
        (None, {"general_type": 3}, ModelError, r"is not an adapter \(general\.type is 3\)"),
        (None, {"adapter_type": "dora"}, Unsupported, "is an adapter of type dora; edgerun applies lora"),
        (None, {"general_architecture": "qwen2"}, ModelError, "adapts models of qwen2, and this one is of llama"),
        (None, {"general_architecture": "\x1b[2J"}, ModelError, r"adapts models of \\x1b\[2J"),
        (None, {"alpha": float("nan")}, GGUFError, "'adapter.lora.alpha' is nan .*; it must be a finite number"),
        (None, {"alpha": "1"}, GGUFError, "it must be a finite number"),
        ({"x": X}, {}, Unsupported, r"has tensor x besides pairs of \.lora_a and \.lora_b"),
        ({f"{NAME}.lora_a": X}, {}, ModelError, r"has only one of \.lora_a and \.lora_b"),
        ({f"{NAME}.lora_a": X, f"{NAME}.lora_b": X[:1]}, {}, ModelError, r"fits a blk.0.ffn_up.weight of shape \[1, 2\], and this model's has"),
        ({f"{NAME}.lora_a": X[:1], f"{NAME}.lora_b": X}, {}, ModelError, "which have no rank in common"),
        ({f"{NAME}.lora_a": X[0], f"{NAME}.lora_b": X[0]}, {}, ModelError, "which have no rank in common"),
        ({f"{NAME}.lora_a": X, f"{NAME}.lora_b": X[None]}, {}, ModelError, "which have no rank in common"),
        ({f"{NAME}.lora_a": np.ones((2, 2, 2), np.float32), f"{NAME}.lora_b": np.ones((3, 2, 2), np.float32)}, {}, ModelError, "of shape None"),
        ({"a.lora_a": X, "a.lora_b": X}, {}, ModelError, "adapts tensor a, which this model does not have; it was made for another one"),
    ],
)
def test_adapters_that_do_not_fit(tmp_path: Path, tensors: dict[str, np.ndarray] | None, keys: dict[str, Any], kind: type[Exception], message: str) -> None:
    alpha = keys.pop("alpha", 8.0)
    path = write(tmp_path / "bad.gguf", pair(NAME, 4) if tensors is None else tensors, alpha, **keys)
    with pytest.raises(kind, match=message) as caught:
        edgerun.load(LLAMA, context=64, lora=path)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()


def test_adapters_that_ask_for_more(tmp_path: Path) -> None:
    path = tmp_path / "alora.gguf"
    with GGUFWriter(path) as writer:
        for key, value in {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora", "adapter.alora.invocation_tokens": [1]}.items():
            writer.add(key, value)
    with pytest.raises(Unsupported, match=r"behind certain tokens only \(aLoRA\)"):
        edgerun.load(LLAMA, lora=path)
    norm = write(tmp_path / "norm.gguf", {"output_norm.weight.lora_a": X, "output_norm.weight.lora_b": X})
    with pytest.raises(ModelError, match=r"fits a output_norm\.weight of shape"):
        edgerun.load(LLAMA, lora=norm)


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 1e7])
def test_scales_that_are_none(tmp_path: Path, scale: float) -> None:
    with pytest.raises(UsageError, match="is not a number up to 1e\\+06"):
        edgerun.load(LLAMA, lora=[(write(tmp_path / "a.gguf", pair(NAME, 4)), scale)])


def test_an_adapter_is_no_model_and_a_folder_no_adapter(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gguf", pair(NAME, 4))
    with pytest.raises(Unsupported, match=r"a\.gguf: is an adapter, not a model: name the model it was made for, and this file with --lora"):
        edgerun.load(path)
    with pytest.raises(UsageError, match="is a folder; edgerun convert FOLDER --base MODEL makes an adapter file"):
        edgerun.load(LLAMA, lora=tmp_path)
