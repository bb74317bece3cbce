"""Checkpoints made here, and those of $EDGERUN_ORACLE, become the files that they should; damaged and hostile ones end in one line."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgerun.backends import reference
from edgerun.errors import ModelError, OutputError, ResourceError, Unsupported, UsageError
from edgerun.formats import by_id, by_name
from edgerun.gguf import GGUF, open_gguf
from edgerun.graph.lower import lower
from edgerun.models import spec_from
from quant.convert import Checkpoint, Plan, convert
from quant.convert.checkpoint import as_floats
from quant.convert.family import To
from quant.convert.pieces import encoded
from quant.convert.plan import Row

ORACLE = Path(os.environ.get("EDGERUN_ORACLE", "/nowhere"))
CASES = sorted(path.parent.name for path in ORACLE.glob("*/hf"))

WIDTH, HEADS, KV, FEED, TOKENS = 8, 2, 1, 32, 12
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH, "intermediate_size": FEED, "num_hidden_layers": 1,
    "num_attention_heads": HEADS, "num_key_value_heads": KV, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "vocab_size": TOKENS,
    "rope_theta": 10000.0, "tie_word_embeddings": False,
}  # fmt: skip
NAMES = {np.dtype("<f4"): "F32", np.dtype("<f2"): "F16", np.dtype("<u2"): "BF16", np.dtype("<i8"): "I64", np.dtype("<i4"): "I32", np.dtype("<f8"): "F64", np.dtype("u1"): "U8"}
MIXTRAL = {"model_type": "mixtral", "num_local_experts": 3, "num_experts_per_tok": 2}


def llama() -> dict[str, np.ndarray]:
    """Tensors of a Llama of one layer; each number another."""
    at, layer = "model.layers.0.", {"self_attn.q_proj": (WIDTH, WIDTH), "self_attn.k_proj": (4, WIDTH), "self_attn.v_proj": (4, WIDTH), "self_attn.o_proj": (WIDTH, WIDTH)}
    layer |= {"mlp.gate_proj": (FEED, WIDTH), "mlp.up_proj": (FEED, WIDTH), "mlp.down_proj": (WIDTH, FEED), "input_layernorm": (WIDTH,), "post_attention_layernorm": (WIDTH,)}
    shapes = {"model.embed_tokens": (TOKENS, WIDTH), "model.norm": (WIDTH,), "lm_head": (TOKENS, WIDTH), **{at + name: shape for name, shape in layer.items()}}
    draw = np.random.Generator(np.random.Philox(key=1))
    return {f"{name}.weight": draw.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def mixtral() -> dict[str, np.ndarray]:
    """The same with three experts."""
    tensors = {name: value for name, value in llama().items() if ".mlp." not in name}
    at = "model.layers.0.block_sparse_moe"
    for i in range(3):
        tensors |= {f"{at}.experts.{i}.{name}.weight": np.full(shape, i + 0.5, np.float32) for name, shape in (("w1", (FEED, WIDTH)), ("w2", (WIDTH, FEED)), ("w3", (FEED, WIDTH)))}
    return tensors | {f"{at}.gate.weight": np.ones((3, WIDTH), np.float32)}


def save(path: Path, tensors: dict[str, np.ndarray], change: Callable[[dict[str, Any]], Any] | None = None, more: bytes = b"") -> None:
    """A safetensors file by hand; `change` damages its header."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, value in tensors.items():
        header[name] = {"dtype": NAMES[value.dtype], "shape": list(value.shape), "data_offsets": [at, at + value.nbytes]}
        at += value.nbytes
    changed = change(header) if change else None
    text = changed if isinstance(changed, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(value.tobytes() for value in tensors.values()) + more)


def checkpoint(folder: Path, tensors: dict[str, np.ndarray] | None = None, change: Callable[[dict[str, Any]], Any] | None = None, **config: Any) -> Path:
    """A folder with one file."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    save(folder / "model.safetensors", llama() if tensors is None else tensors, change)
    return folder


def converted(folder: Path, outtype: str = "f32", **options: Any) -> GGUF:
    """The file made of it, open."""
    with Checkpoint(folder) as source:
        convert(Plan.of(source, outtype, **options), folder / "out.gguf", threads=2)
    assert not list(folder.glob("*.part"))
    return open_gguf(folder / "out.gguf")


def values(file: GGUF, name: str) -> np.ndarray:
    tensor = file.tensors[name]
    return by_id(tensor.type).dequantize(tensor.read()).reshape(tensor.shape)


def bf16(x: np.ndarray) -> np.ndarray:
    return by_name("BF16").quantize(np.atleast_2d(x)).view("<u2").reshape(x.shape)


def test_names_numbers_and_metadata(tmp_path: Path) -> None:
    tensors = llama()
    with converted(checkpoint(tmp_path)) as file:
        assert np.array_equal(values(file, "blk.0.ffn_up.weight"), tensors["model.layers.0.mlp.up_proj.weight"])
        q = tensors["model.layers.0.self_attn.q_proj.weight"]
        assert np.array_equal(values(file, "blk.0.attn_q.weight"), q[[0, 2, 1, 3, 4, 6, 5, 7]])   # halves of each head by turns
        assert file.tensors["output.weight"].shape == (TOKENS, WIDTH)
        assert len(file.tensors) == len(tensors)
        wanted = {
            "general.architecture": "llama", "general.size_label": "1.2K", "general.file_type": 0, "llama.block_count": 1,
            "llama.context_length": 64, "llama.attention.head_count_kv": 1, "llama.rope.dimension_count": 4, "llama.vocab_size": TOKENS,
        }  # fmt: skip
        assert {key: file.metadata[key] for key in wanted} == wanted
        spec = spec_from(dict(file.metadata), {name: t.shape for name, t in file.tensors.items()}, lambda name: values(file, name))
        assert lower(spec, {name: t.shape for name, t in file.tensors.items()}).n_vocab == TOKENS


def test_types(tmp_path: Path) -> None:
    tensors = llama()
    up, gate = "model.layers.0.mlp.down_proj.weight", "model.layers.0.mlp.gate_proj.weight"
    halves = {name: bf16(value) for name, value in tensors.items()}
    checkpoint(tmp_path, halves)
    for outtype, kind in (("auto", "BF16"), ("bf16", "BF16"), ("f16", "F16"), ("f32", "F32"), ("q8_0", "Q8_0")):
        with converted(tmp_path, outtype) as file:
            down = file.tensors["blk.0.ffn_down.weight"]
            x = (halves[up].astype(np.uint32) << 16).view(np.float32)
            assert down.type_name == kind
            assert np.array_equal(down.read(), by_name(kind).quantize(x))
            assert file.tensors["blk.0.attn_norm.weight"].type_name == "F32"
            assert file.tensors["blk.0.ffn_gate.weight"].type_name == ("F16" if kind == "Q8_0" else kind)   # rows of 8 fill no block
    assert halves[gate].dtype == np.uint16
    with Checkpoint(tmp_path) as source:
        assert {row.instead_of for row in Plan.of(source, "q8_0").rows} == {None, "Q8_0"}
    with converted(checkpoint(tmp_path), "auto") as file:
        assert file.tensors["blk.0.ffn_up.weight"].type_name == "F16"


def test_experts_in_several_files_become_one_stack(tmp_path: Path) -> None:
    tensors, places = mixtral(), {}
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | MIXTRAL))
    for number in range(2):
        file = f"model-{number + 1:05}-of-00002.safetensors"
        part = {name: value for i, (name, value) in enumerate(tensors.items()) if i % 2 == number}
        save(tmp_path / file, part)
        places |= dict.fromkeys(part, file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    for listed in (True, False):
        if not listed:
            index.unlink()
        with converted(tmp_path) as file:
            stack = values(file, "blk.0.ffn_down_exps.weight")
            assert stack.shape == (3, WIDTH, FEED)
            assert stack[:, 0, 0].tolist() == [0.5, 1.5, 2.5]
            assert file.metadata["general.size_label"] == "3x1.2K"
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model-00002-of-00002\.safetensors is missing, of 2 files"):
        Checkpoint(tmp_path)
    index.write_text(json.dumps({"weight_map": places}))
    with pytest.raises(ModelError, match=r"model-00002-of-00002\.safetensors is missing, of the files in model\.safetensors\.index\.json"):
        Checkpoint(tmp_path)


def test_experts_in_mxfp4_keep_their_numbers(tmp_path: Path) -> None:
    draw = np.random.Generator(np.random.Philox(key=2))
    blocks, scales = draw.integers(0, 256, (2, 6, 2, 16), np.uint8), draw.integers(120, 130, (2, 6, 2), np.uint8)
    name = "model.layers.0.mlp.experts.gate_up_proj"
    config = {"model_type": "gpt_oss", "quantization_config": {"quant_method": "mxfp4"}, "sliding_window": 16}
    with converted(checkpoint(tmp_path, {f"{name}_blocks": blocks, f"{name}_scales": scales}, **config), "bf16") as file:
        both = [values(file, f"blk.0.ffn_{half}_exps.weight") for half in ("gate", "up")]
        assert file.tensors["blk.0.ffn_up_exps.weight"].type_name == "MXFP4"
        assert file.metadata["general.file_type"] == 38
    codes = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
    wanted = np.stack([codes[blocks & 15], codes[blocks >> 4]], -1).reshape(2, 6, 2, 32) * np.exp2(scales[..., None].astype(np.float32) - 127)
    assert np.array_equal(both[0], wanted.reshape(2, 6, 64)[:, ::2])
    assert np.array_equal(both[1], wanted.reshape(2, 6, 64)[:, 1::2])
    with pytest.raises(Unsupported, match=r"gate_up_proj_(blocks|scales) is"), Checkpoint(checkpoint(tmp_path, {f"{name}_blocks": blocks[:1], f"{name}_scales": scales}, **config)) as source:
        Plan.of(source)


@pytest.mark.parametrize("place", ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "..\\m.safetensors", "model.bin", "", "\x1b[2J.safetensors"])
def test_an_index_cannot_name_files_elsewhere(tmp_path: Path, place: str) -> None:
    checkpoint(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"lm_head.weight": place}}))
    with pytest.raises(ModelError, match=r"is not a \.safetensors file in the same folder") as caught:
        Checkpoint(tmp_path)
    assert str(caught.value).isprintable()


def test_a_tied_output_and_buffers_are_left_out(tmp_path: Path) -> None:
    tensors = llama() | {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(2, np.float32)}
    with Checkpoint(checkpoint(tmp_path, tensors, tie_word_embeddings=True)) as source:
        plan = Plan.of(source)
    assert set(plan.left_out) == {"lm_head.weight", "model.layers.0.self_attn.rotary_emb.inv_freq"}


def test_other_keys_are_kept(tmp_path: Path) -> None:
    with converted(checkpoint(tmp_path), entries=[("general.name", "Tiny", "str"), ("tokenizer.ggml.tokens", ["a", "b"], "str")]) as file:
        assert file.metadata["general.name"] == "Tiny"
        assert list(file.metadata["tokenizer.ggml.tokens"]) == ["a", "b"]


def shifted(name: str, start: int, stop: int) -> Callable[[dict[str, Any]], None]:
    def change(header: dict[str, Any]) -> None:
        header[name]["data_offsets"] = [header[name]["data_offsets"][0] + start, header[name]["data_offsets"][1] + stop]

    return change


def entry(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda header: header["lm_head.weight"].update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shifted("lm_head.weight", -4, -4), "overlaps the one before it"),
        (shifted("lm_head.weight", 4, 4), "leaves a gap before it"),
        (shifted("lm_head.weight", 0, 4), "which is not what"),
        (entry(dtype="F8_E4M3"), "which is not what"),
        (entry(dtype="Q4"), "has dtype 'Q4', which is not known"),
        (entry(dtype=[]), "is not known"),
        (entry(shape=[-12, -8]), "impossible shape or place"),
        (entry(shape=[1 << 62, 1 << 62]), "impossible shape or place"),
        (entry(shape=[True, 96]), "impossible shape or place"),
        (entry(shape=[96] + [1] * 20), "impossible shape or place"),
        (entry(shape="x"), "impossible shape or place"),
        (entry(data_offsets=[0]), "is not described by dtype, shape and data_offsets"),
        (entry(data_offsets=[8, 4]), "impossible shape or place"),
        (entry(data_offsets=[0, 1 << 60]), "impossible shape or place"),
        (lambda header: header.update(x=3), "is not described by"),
        (lambda header: b"[]" + b" " * 30, "holds no JSON object"),
        (lambda header: b"[" * 100_000, "is not sound JSON"),
        (lambda header: b'{"a": 1, "a": 1}', "a key comes twice"),
        (lambda header: b"\xff" * 16, "is not sound JSON"),
        (lambda header: header.pop("lm_head.weight") and None, "leaves a gap|its header describes"),
    ],
)
def test_hostile_headers(tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Checkpoint(checkpoint(tmp_path, change=change))


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 500])
def test_cut_files(tmp_path: Path, length: int) -> None:
    path = checkpoint(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ModelError, match=r"too few for a safetensors file|claims a header of"):
        Checkpoint(tmp_path)


def test_a_file_that_becomes_shorter_leaves_nothing_behind(tmp_path: Path) -> None:
    path, out = checkpoint(tmp_path) / "model.safetensors", tmp_path / "out.gguf"
    out.write_bytes(b"old")
    with Checkpoint(tmp_path) as source:
        plan = Plan.of(source)
        os.truncate(path, path.stat().st_size - 100)
        with pytest.raises(ModelError, match="was cut short"):
            convert(plan, out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors", "out.gguf"]
    assert out.read_bytes() == b"old"


def without(name: str) -> dict[str, np.ndarray]:
    return {key: value for key, value in mixtral().items() if key != f"model.layers.0.block_sparse_moe.experts.{name}.weight"}


@pytest.mark.parametrize(
    ("config", "tensors", "message"),
    [
        ({"model_type": "qwen22"}, None, "'qwen22' cannot be converted; the nearest of .* is 'qwen2'"),
        ({"model_type": None}, None, "names no model_type"),
        ({}, {"model.layers.0.extra.weight": np.ones(2, np.float32)}, "tensor model.layers.0.extra.weight is not one that checkpoints of llama have"),
        ({}, {"lm_head.weight": np.ones(2, np.int64)}, "is I64: quantized checkpoints cannot be converted"),
        ({"quantization_config": {"quant_method": "aqlm"}}, None, "quantized already .aqlm."),
        ({"num_attention_heads": 3}, None, r"has the shape \[8, 8\], which does not fit"),
        ({"num_attention_heads": "8"}, None, "num_attention_heads is '8', not a whole number"),
        ({"num_hidden_layers": -1}, None, "num_hidden_layers is -1, not a whole number"),
        ({"rms_norm_eps": "x"}, None, "attention.layer_norm_rms_epsilon the value 'x', which is not of type f32"),
        ({"max_position_embeddings": 1e9}, None, "which is not of type u32"),
        ({"rope_scaling": {"rope_type": "magic"}}, None, "rope scaling of type 'magic' is not supported"),
        ({"rope_scaling": {"rope_type": [1]}}, None, r"rope scaling of type '\[1\]' is not supported"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 10**400}}, None, "factor is 1000.*, not a number"),
        ({"rms_norm_eps": 1e39}, None, "which is not of type f32"),
        ({"scoring_func": {}}, None, "experts scored by '{}' are not supported"),
        ({"hidden_act": "gelu"}, None, "the activation 'gelu' is not one that llama has, which is silu or swish"),
        ({"hidden_act": 3}, None, "the activation '3' is not one"),
        ({"rope_scaling": 5}, None, "rope_scaling is 5, not an object"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 0}}, None, "not finite"),
        (MIXTRAL, without("1.w2"), "has parts that are missing or there twice"),
        (MIXTRAL, mixtral() | {"model.layers.0.block_sparse_moe.experts.1.w2.weight": np.ones((2, 2), np.float32)}, "of different shapes"),
        ({}, {"model.norm.weight": np.ones(2, np.float32), "norm.weight": np.ones(2, np.float32)}, "is made of more than one tensor"),
        ({}, {"lm_head.weight": np.ones((0, 3), np.float32)}, "cannot have the shape"),
        ({}, {"lm_head.bias": np.float32([1]).reshape(())}, "cannot have the shape"),
    ],
)
def test_what_cannot_be_converted(tmp_path: Path, config: dict[str, Any], tensors: dict[str, np.ndarray] | None, message: str) -> None:
    with Checkpoint(checkpoint(tmp_path, tensors, **config)) as source, pytest.raises(ModelError, match=message):
        Plan.of(source)


def test_pickles_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(ModelError, match=r"has no model\.safetensors"):
        Checkpoint(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(Unsupported, match=r"pytorch_model\.bin is a pickle, which can run code"):
        Checkpoint(tmp_path)


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        Checkpoint(tmp_path / "x")
    with pytest.raises(ModelError, match=r"has no config\.json"):
        Checkpoint(tmp_path)


def test_weights_beyond_f16(tmp_path: Path) -> None:
    tensors = llama()
    tensors["lm_head.weight"][3, 3] = 1e6
    with Checkpoint(checkpoint(tmp_path, tensors)) as source:
        with pytest.raises(ModelError, match=r"output.weight has a weight of 1e\+06, beyond the 65504 of F16; use --outtype bf16 or f32"):
            convert(Plan.of(source, "f16"), tmp_path / "out.gguf")
        convert(Plan.of(source, "bf16"), tmp_path / "out.gguf")


def test_no_room_and_no_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Checkpoint(checkpoint(tmp_path)) as source:
        plan = Plan.of(source)
        with pytest.raises(OutputError, match="cannot be written"):
            convert(plan, tmp_path / "no" / "out.gguf")
        monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
        with pytest.raises(ResourceError, match="10 are free there"):
            convert(plan, tmp_path / "out.gguf")


@pytest.mark.skipif(not CASES, reason="EDGERUN_ORACLE names no folder with checkpoints")
@pytest.mark.parametrize("case", CASES)
def test_checkpoints_become_the_files_of_llama_cpp(case: str, tmp_path: Path) -> None:
    with Checkpoint(ORACLE / case / "hf") as source:
        convert(Plan.of(source, "f32", [("general.name", case, "str")]), tmp_path / "out.gguf")
    with open_gguf(tmp_path / "out.gguf") as mine, open_gguf(ORACLE / case / "model.gguf") as theirs:
        own = {key: mine.metadata[key] for key in mine.metadata}
        assert own | {key: theirs.metadata[key] for key in theirs.metadata if not key.startswith("tokenizer.")} == own
        assert set(mine.tensors) == set(theirs.tensors)
        for name, tensor in theirs.tensors.items():
            assert (mine.tensors[name].shape, mine.tensors[name].type) == (tensor.shape, tensor.type)
            x, y = mine.tensors[name].read().view(np.float32), tensor.read().view(np.float32)
            # exp of another library may be one unit off in the last place
            assert np.array_equal(x, y) or (name.endswith("ssm_a") and np.allclose(x, y, rtol=2e-7, atol=0)), name
        logits(case, mine)


def logits(case: str, file: GGUF) -> None:
    """Compared where edgerun computes the architecture."""
    shapes = {name: tensor.shape for name, tensor in file.tensors.items()}
    try:
        program = lower(spec_from(dict(file.metadata), shapes, lambda name: values(file, name)), shapes)
    except Unsupported:
        return
    with np.load(ORACLE / case / "golden.npz") as golden:
        tokens, what = golden["tokens_2"], "logits" if "logits_0" in golden else "hidden"
        wanted, places = golden[f"{what}_2"], golden["pos_2"] if "pos_2" in golden else np.arange(len(tokens))
    executor = reference.compile(program, file.tensors, pages=2)
    batch = reference_batch(tokens)
    got = np.asarray(executor.step(batch))[places]
    assert ((got - wanted) ** 2).sum() / (wanted**2).sum() < 1e-6


def reference_batch(tokens: np.ndarray) -> Any:
    from edgerun.backends.executor import Batch

    rows = np.arange(len(tokens), dtype=np.int32)
    return Batch(tokens=tokens, positions=rows, sequences=np.zeros(len(tokens), np.int32), tables=np.zeros((1, 1), np.int32), outputs=rows)


def test_every_bf16_becomes_the_f16_it_is_nearest_to() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).reshape(-1, 64)
    row = Row("x", every.shape, "F16", To("x"))
    floats = as_floats(every, "BF16")
    held = (np.abs(floats) < 65520).all(1) | np.isnan(floats).all(1)
    assert np.array_equal(np.frombuffer(encoded(every[held], "BF16", row), "<u2"), floats[held].astype("<f2").view("<u2").reshape(-1))
    for line in every[~held & (np.abs(floats) >= 65520).any(1) & np.isfinite(floats).all(1)]:
        with pytest.raises(ModelError, match="beyond the 65504 of F16"):
            encoded(line[None], "BF16", row)
    infinite = np.array([[0x7F80, 0xFF80, 0x3F80]], np.uint16)   # is infinite in F16 too, and checked elsewhere
    assert np.frombuffer(encoded(infinite, "BF16", row), "<f2").tolist() == [np.inf, -np.inf, 1]
