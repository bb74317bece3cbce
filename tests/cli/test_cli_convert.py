"""`edgerun convert` as it is typed."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgerun.gguf import open_gguf

Cli = Callable[..., Any]
LETTERS = [chr(ord("a") + i) for i in range(8)]
CONFIG = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "vocab_size": 8, "tie_word_embeddings": True,
}  # fmt: skip
SHAPES = {"self_attn.q_proj": (8, 8), "self_attn.k_proj": (4, 8), "self_attn.v_proj": (4, 8), "self_attn.o_proj": (8, 8), "mlp.gate_proj": (16, 8), "mlp.up_proj": (16, 8)}
SHAPES |= {"mlp.down_proj": (8, 16), "input_layernorm": (8,), "post_attention_layernorm": (8,)}
DTYPES = {"float32": "F32", "float16": "F16", "int32": "I32"}
PIECES = {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}]}


def save(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """A safetensors file by hand."""
    header, content = {}, b""
    for name, value in tensors.items():
        header[name] = {"dtype": DTYPES[value.dtype.name], "shape": value.shape, "data_offsets": [len(content), len(content) + value.nbytes]}
        content += value.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A checkpoint with a vocabulary of eight letters."""
    folder = tmp_path / "Tiny-Letters"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    model = {"type": "BPE", "vocab": {letter: i for i, letter in enumerate(LETTERS)}, "merges": []}
    (folder / "tokenizer.json").write_text(json.dumps({"model": model, "added_tokens": [], "pre_tokenizer": PIECES, "decoder": {"type": "ByteLevel"}}))
    shapes = {"model.embed_tokens": (8, 8), "model.norm": (8,)} | {f"model.layers.0.{name}": shape for name, shape in SHAPES.items()}
    save(folder / "model.safetensors", {f"{name}.weight": np.ones(shape, np.float32) for name, shape in shapes.items()})
    return folder


def test_the_file_is_named_by_folder_and_type(cli: Cli, source: Path) -> None:
    result = cli("convert", str(source), "-t", "1")
    out = source.parent / "Tiny-Letters-F16.gguf"
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"wrote {out}: qwen2, ")
    facts = json.loads(cli("show", str(out), "-o", "json").out)["metadata"]
    assert (facts["general.architecture"], facts["tokenizer.ggml.model"]) == ("qwen2", "gpt2")
    again = cli("convert", str(source), "-t", "1")
    assert (again.code, again.out) == (2, "")
    assert "is there already" in again.err
    assert cli("convert", str(source), "-t", "1", "--force", "-q").code == 0
    folder = cli("convert", str(source), str(source.parent))
    assert (folder.code, folder.out) == (2, "")
    assert "is a folder; give the name of a file in it" in folder.err


def test_a_dry_run_shows_the_plan_and_writes_nothing(cli: Cli, source: Path) -> None:
    before = sorted(source.parent.rglob("*"))
    result = cli("convert", str(source), "--outtype", "q8_0", "--dry-run")
    assert result.out.splitlines()[0].split() == ["tensor", "shape", "from", "to", "size"]
    assert "edgerun: warning: token_embd.weight, blk.0.attn_q.weight and 5 more (--dry-run lists them) become F16: their rows of 8 do not fill the blocks of Q8_0\n" in result.err
    facts = json.loads(cli("convert", str(source), "--outtype", "bf16", "--dry-run", "-o", "json", "-q").out)
    types = {row["name"]: row["to"] for row in facts["tensors"]}
    assert (facts["architecture"], types["blk.0.attn_q.weight"], types["blk.0.attn_norm.weight"]) == ("qwen2", "BF16", "F32")
    assert sorted(source.parent.rglob("*")) == before


def test_errors_are_one_line(cli: Cli, source: Path) -> None:
    nothing = cli("convert", str(source / "nothing"))
    assert (nothing.code, nothing.out) == (2, "")
    assert "is not a folder with config.json and *.safetensors" in nothing.err
    (source / "model.safetensors").rename(source / "pytorch_model.bin")
    pickle = cli("convert", str(source))
    assert (pickle.code, pickle.out) == (3, "")
    assert "pytorch_model.bin is a pickle, which can run code when it is read" in pickle.err
    assert len(pickle.err.strip().splitlines()) == 1


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A LoRA for that checkpoint."""
    folder = tmp_path / "Small-Change"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "lora_alpha": 4, "r": 2, "base_model_name_or_path": "some/Tiny-Letters\x1b[2J"}))
    at = "base_model.model.model.layers.0.mlp.down_proj.lora_"
    save(folder / "adapter_model.safetensors", {f"{at}A.weight": np.ones((2, 16), np.float32), f"{at}B.weight": np.ones((8, 2), np.float32)})
    return folder


def test_an_adapter_becomes_a_file_of_its_own(cli: Cli, source: Path, adapter: Path) -> None:
    alone = cli("convert", str(adapter))
    assert (alone.code, alone.out) == (2, "")
    assert "Small-Change: is an adapter; name the folder of the model it was trained on (some/Tiny-Letters" in alone.err
    assert alone.err.endswith("with --base, of which config.json is enough\n")
    assert len(alone.err.splitlines()) == 1
    assert "\x1b" not in alone.err
    (source / "model.safetensors").unlink()
    result = cli("convert", str(adapter), "--base", str(source), "-t", "1")
    out = adapter.parent / "Small-Change-F32.gguf"
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"wrote {out}: adapter of qwen2, ")
    dry = json.loads(cli("convert", str(adapter), "--base", str(source), "--outtype", "f16", "--dry-run", "-o", "json").out)
    assert (dry["kind"], [row["name"] for row in dry["tensors"]]) == ("adapter", ["blk.0.ffn_down.weight.lora_a", "blk.0.ffn_down.weight.lora_b"])
    for options in (["--base", str(source / "x")], ["--merge", str(adapter)]):
        assert cli("convert", str(adapter), *options).code == 2


def test_an_adapter_becomes_a_part_of_the_model(cli: Cli, source: Path, adapter: Path) -> None:
    result = cli("convert", str(source), "--merge", f"{adapter}:0.5", "--outtype", "f32", "-t", "1")
    out = source.parent / "Tiny-Letters-Small-Change-F32.gguf"
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"wrote {out}: qwen2, ")
    with open_gguf(out) as file:
        assert np.all(file.tensors["blk.0.ffn_down.weight"].read().view(np.float32) == 3)   # 1 + 0.5 * 4 / 2 * 2
        assert np.all(file.tensors["blk.0.ffn_up.weight"].read().view(np.float32) == 1)
    assert cli("convert", str(source), "--base", str(source)).code == 2
    missing = cli("convert", str(source), "--merge", str(source))
    assert (missing.code, missing.out) == (2, "")
    assert "is not a folder with adapter_config.json and adapter_model.safetensors" in missing.err


def test_quantized_checkpoints_are_kept_or_a_line_says_what_they_lose(cli: Cli, source: Path) -> None:
    at = "model.layers.0."
    config = CONFIG | {"hidden_size": 32, "intermediate_size": 32, "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 16}}
    for group, kind in ((32, "Q4_0"), (16, "F16")):
        (source / "config.json").write_text(json.dumps(config | {"quantization_config": config["quantization_config"] | {"group_size": group}}))
        tensors = {f"{name}.weight": np.ones((8, 32) if "embed" in name else 32, np.float16) for name in ("model.embed_tokens", "model.norm", f"{at}input_layernorm", f"{at}post_attention_layernorm")}
        for name, (rows, _) in {name: shape for name, shape in SHAPES.items() if len(shape) > 1}.items():
            rows = 16 if rows == 4 else 32
            tensors |= {
                f"{at}{name}.qweight": np.zeros((4, rows), np.int32), f"{at}{name}.qzeros": np.full((32 // group, rows // 8), 0x77777777, np.int32),
                f"{at}{name}.scales": np.full((32 // group, rows), 0.5, np.float16), f"{at}{name}.g_idx": np.arange(32, dtype=np.int32) // group,
            }  # fmt: skip
        save(source / "model.safetensors", tensors)
        result = cli("convert", str(source), "--force", "-t", "1")
        lost = "7 quantized matrices become F16, which rounds each weight by up to 0.05 %: columns that lie together are of different groups (desc_act)"
        assert result.err == ("" if kind == "Q4_0" else f"edgerun: warning: {lost}\n")
        assert result.out.startswith(f"wrote {source.parent / f'Tiny-Letters-{kind}.gguf'}: qwen2, ")
