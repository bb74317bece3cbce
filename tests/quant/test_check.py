"""Sound files are found sound, and each damage is found and named."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from edgerun.formats import by_name
from edgerun.gguf import open_gguf
from edgerun.gguf.writer import GGUFWriter
from quant.check import Finding, check
from quant.edit import Change, copy_metadata

MODEL = Path(__file__).parents[1] / "golden" / "oracle" / "llama" / "model.gguf"


def rewritten(path: Path, changes: dict[str, str] | None = None, **tensors: np.ndarray | None) -> Path:
    """A copy of the model with other keys and tensors; names are written with _ for the first dot, None leaves one out."""
    with open_gguf(MODEL) as file, GGUFWriter(path) as writer:
        copy_metadata(file.metadata, writer, [Change.parse(f"{k}={v}", file.metadata) for k, v in (changes or {}).items()])
        new = {name.replace("__", "."): values for name, values in tensors.items()}
        for name, tensor in file.tensors.items():
            values = new.get(name, tensor.read().view(np.float32).reshape(tensor.shape))
            if values is not None:
                writer.add_tensor(name, np.ascontiguousarray(values))
    return path


def values(name: str) -> np.ndarray:
    with open_gguf(MODEL) as file:
        return file.tensors[name].read().view(np.float32).reshape(file.tensors[name].shape).copy()


def found(path: Path, level: str = "damage", **more: object) -> list[Finding]:
    return [finding for finding in check(path, **more) if finding.level == level]


def test_a_sound_file() -> None:
    seen: list[tuple[int, int]] = []
    findings = list(check(MODEL, progress=lambda done, of: seen.append((done, of))))
    assert [(f.level, f.what) for f in findings if f.what != "template"] == [("ok", what) for what in ("structure", "hash", "weights", "architecture", "tokenizer")]
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1] > 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none(tmp_path: Path, bad: float) -> None:
    w = values("blk.0.ffn_up.weight")
    w[3, 5] = w[4, 4] = bad
    (finding,) = found(rewritten(tmp_path / "m.gguf", blk__0__ffn_up__weight=w))
    assert finding.what == "weights"
    assert finding.text.startswith("blk.0.ffn_up.weight (F32) has 2 values that are not finite; download")


def test_a_scale_that_is_no_number(tmp_path: Path) -> None:
    blocks = by_name("Q8_0").quantize(np.ones((4, 64), np.float32))
    blocks[1, 34:36] = np.frombuffer(struct.pack("<e", np.nan), np.uint8)
    with GGUFWriter(tmp_path / "m.gguf") as writer:
        writer.add("general.architecture", "llama")
        writer.add_tensor("x.weight", blocks.tobytes(), 8, (4, 64))
    assert "x.weight (Q8_0) has 32 values that are not finite" in found(tmp_path / "m.gguf")[0].text


def test_rows_of_zeros(tmp_path: Path) -> None:
    w = values("blk.0.ffn_up.weight")
    w[[2, 7]] = 0
    path = rewritten(tmp_path / "m.gguf", blk__0__ffn_up__weight=w)
    assert not found(path)
    assert f"blk.0.ffn_up.weight has 2 of {len(w)} rows of zeros" in found(path, "warning")[0].text


def test_a_tensor_that_is_missing_or_left_over(tmp_path: Path) -> None:
    assert "'output_norm.weight' [" in found(rewritten(tmp_path / "a.gguf", output_norm__weight=None))[0].text
    changes = {"llama.block_count": "1"}
    assert "have no part in this architecture" in found(rewritten(tmp_path / "b.gguf", changes))[0].text


def test_an_unknown_architecture_is_no_damage(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "m.gguf", {"general.architecture": "nonsense"})
    assert not found(path)
    assert any("nonsense" in finding.text for finding in found(path, "warning"))


def test_a_vocabulary_that_does_not_fit(tmp_path: Path) -> None:
    w = values("token_embd.weight")
    path = rewritten(tmp_path / "m.gguf", token_embd__weight=w[:-1], output__weight=w[:-1])
    assert "the weights are for" in found(path)[0].text


def test_a_template_that_fails(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "m.gguf", {"tokenizer.chat_template": "{{ 1 / 0 }}"})
    assert any(f.what == "template" and "--chat-template" in f.text for f in found(path, "warning"))


def test_the_hash(tmp_path: Path) -> None:
    assert found(MODEL, sha256="0" * 64)[0].what == "hash"
    import hashlib

    digest = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert not found(MODEL, sha256=digest)
    blob = tmp_path / digest
    blob.write_bytes(MODEL.read_bytes())
    assert not found(blob)
    blob.write_bytes(MODEL.read_bytes() + b"x")
    assert found(blob)[0].what == "hash"


def test_no_gguf_at_all(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(MODEL.read_bytes()[:1000])
    (finding,) = check(tmp_path / "m.gguf")
    assert (finding.level, finding.what) == ("damage", "structure")


def test_a_vocabulary_alone(tmp_path: Path) -> None:
    with open_gguf(MODEL) as file, GGUFWriter(tmp_path / "v.gguf") as writer:
        copy_metadata(file.metadata, writer)
    assert not found(tmp_path / "v.gguf")
    assert found(tmp_path / "v.gguf", "warning")[0].what == "weights"


def test_adapters(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    for kind, half, level, said in (
        ("lora", "lora_b", "ok", "for models of llama; adapts 1 tensors"), ("lora", "lora_c", "warning", "has tensor x.lora_c besides pairs"),
        ("other", "lora_b", "warning", "is an adapter of type other"), ("lora", None, "damage", "x has only one of .lora_a and .lora_b"),
    ):  # fmt: skip
        with GGUFWriter(path) as writer:
            for key, value in {"general.type": "adapter", "adapter.type": kind, "general.architecture": "llama"}.items():
                writer.add(key, value)
            for name in ["lora_a", *([half] if half else [])]:
                writer.add_tensor(f"x.{name}", np.ones((4, 4), np.float32))
        findings = list(check(path))
        assert [finding.what for finding in findings] == ["structure", "hash", "weights", "adapter"]
        assert findings[-1].level == level
        assert said in findings[-1].text
