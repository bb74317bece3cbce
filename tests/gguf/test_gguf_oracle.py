"""What we read equals what the gguf package reads, and the other way round."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from seeds import every_type, tiny_llama

from edgerun.gguf import open_gguf
from edgerun.gguf.types import FOREIGN_TYPES, TENSOR_TYPES


def assert_same(path: Path) -> None:
    oracle = gguf.GGUFReader(path)
    with open_gguf(path) as model:
        keys = [key for key in oracle.fields if not key.startswith("GGUF.")]
        assert list(model.metadata) == keys
        for key in keys:
            want = oracle.fields[key].contents()
            assert model.metadata[key] == want
            assert type(model.metadata[key]) is type(want)
        assert list(model.tensors) == [t.name for t in oracle.tensors]
        for want in oracle.tensors:
            tensor = model.tensors[want.name]
            assert tensor.shape == tuple(reversed(want.shape.tolist()))
            assert (tensor.type, tensor.type_name, tensor.nbytes, tensor.offset) == (
                int(want.tensor_type), want.tensor_type.name, want.n_bytes, want.data_offset,
            )  # fmt: skip
            rows = tensor.read()
            assert rows.dtype == np.uint8
            assert rows.shape == (tensor.rows, tensor.nbytes // tensor.rows)
            assert rows.tobytes() == want.data.tobytes()


@pytest.mark.parametrize("tokenizer", ["llama", "gpt2"])
@pytest.mark.parametrize("type_id", [0, 3, 8])
def test_tiny_models(tmp_path: Path, tokenizer: str, type_id: int) -> None:
    tiny_llama(tmp_path / "m.gguf", tokenizer, type_id)
    assert_same(tmp_path / "m.gguf")


@pytest.mark.parametrize("alignment", [32, 64, 4096])
def test_a_file_of_the_gguf_package(tmp_path: Path, alignment: int) -> None:
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(alignment)
    for kind, value in (("uint8", 7), ("int8", -7), ("uint16", 7), ("int16", -7), ("uint32", 7), ("int32", -7), ("uint64", 1 << 40)):
        getattr(writer, f"add_{kind}")(f"k.{kind}", value)
    writer.add_int64("k.int64", -(1 << 40))
    writer.add_float32("k.float32", 0.25)
    writer.add_float64("k.float64", 1e-300)
    writer.add_bool("k.bool", True)
    writer.add_string("k.string", "多语言 text")
    for name, values in {"u": [1, 2], "f": [1.5, 2.5], "s": ["a", "", "ü" * 300], "b": [True, False]}.items():
        writer.add_array(f"a.{name}", values)
    random = np.random.default_rng(1)
    writer.add_tensor("a", random.standard_normal((3, 64)).astype(np.float32))
    writer.add_tensor("b", random.standard_normal((2, 3, 5)).astype(np.float16))
    writer.add_tensor("c", random.integers(0, 255, (4, 36), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    writer.add_tensor("d", np.arange(9, dtype=np.int32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert_same(path)


def test_every_value_type_and_tensor_type(tmp_path: Path) -> None:
    """Without the package, which flattens nested arrays and does not know every tensor type."""
    path = tmp_path / "m.gguf"
    every_type(path, 64)
    with open_gguf(path) as model:
        metadata = model.metadata
        for kind in ("u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64", "bool", "str"):
            assert metadata.kind(f"scalar.{kind}") == kind
            assert metadata.kind(f"array.{kind}") == f"[{kind}; 3]"
            assert metadata[f"array.{kind}"] == [metadata[f"scalar.{kind}"]] * 3
            assert metadata[f"empty.{kind}"] == []
        assert metadata["scalar.u64"] == 1 << 63
        assert metadata["scalar.i64"] == -(1 << 63)
        assert metadata["nested.u8"] == [[1, 2], [3], []]
        assert metadata["nested.str"] == [["a", ""], ["b"]]
        for type_id, kind in TENSOR_TYPES.items():
            tensor = model.tensors[f"t.{kind.name}"]
            assert (tensor.type, tensor.type_name, tensor.shape) == (type_id, kind.name, (3, 2 * kind.block))
            assert tensor.read().tobytes() == bytes(i % 251 for i in range(6 * kind.nbytes))
        assert model.tensors["shape.4"].shape == (2, 3, 4, 5)
        assert model.tensors["shape.4"].read(4, 6).shape == (2, 20)
        assert not any(tensor.offset % 64 for tensor in model.tensors.values())


def test_type_table() -> None:
    for kind, sizes in gguf.GGML_QUANT_SIZES.items():
        ours = TENSOR_TYPES[int(kind)]
        assert ours.name == kind.name
        if kind.name != "Q8_1":   # block_q8_1 of ggml-common.h holds two f16, not two f32 as the package has it
            assert (ours.block, ours.nbytes) == sizes
    assert not TENSOR_TYPES.keys() & FOREIGN_TYPES.keys()
    assert FOREIGN_TYPES[139] == "IQ4_K, ik_llama.cpp only"


@pytest.mark.model
def test_default_model(smollm2: Path) -> None:
    assert_same(smollm2)
