"""The plan, and the file that is made of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import edgerun
from edgerun.errors import ModelError, OutputError, UsageError
from edgerun.formats import by_name
from edgerun.gguf import open_gguf
from edgerun.gguf.writer import GGUFWriter
from quant.edit import Change
from quant.importance import Importance, write
from quant.plan import Choices, Plan, writable
from quant.quantize import quantize
from quant.recipes import RECIPES, Place, quantizable, role_of

MODEL = Path(__file__).parents[1] / "golden" / "oracle" / "llama" / "model.gguf"
# What llama-quantize makes of a Llama of 30 layers with 9 heads and 3 key/value heads whose rows fill all blocks: types and layers.
MIXES = {
    "Q4_K_M": {"attn_v": ("Q6_K", {0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 26, 27, 28, 29}, "Q4_K"), "ffn_down": ("Q6_K", {0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 26, 27, 28, 29}, "Q4_K")},
    "Q3_K_M": {"attn_v": ("Q5_K", {0, 1}, "Q4_K"), "ffn_down": ("Q5_K", {0}, "Q4_K"), "attn_output": ("Q4_K", set(), "Q4_K"), "ffn_up": ("Q3_K", set(), "Q3_K")},
    "Q2_K": {"attn_v": ("Q3_K", set(), "Q3_K"), "ffn_down": ("Q3_K", set(), "Q3_K"), "attn_output": ("Q3_K", set(), "Q3_K"), "attn_q": ("Q2_K", set(), "Q2_K")},
    "Q4_K_S": {"attn_v": ("Q5_K", {0, 1, 2, 3}, "Q4_K"), "ffn_down": ("Q5_K", {0, 1, 2}, "Q4_K")},
    "IQ4_XS": {"attn_v": ("IQ4_XS", set(), "IQ4_XS"), "ffn_down": ("Q5_K", {0, 1, 2}, "IQ4_XS")},
}


@pytest.mark.parametrize(("name", "role"), [(name, role) for name, roles in MIXES.items() for role in roles])
def test_recipes_are_those_of_llama_cpp(name: str, role: str) -> None:
    special, layers, other = MIXES[name][role]
    found = [RECIPES[name].type_of(f"blk.{i}.{role}.weight", (256, 256), Place(i, 30, gqa=3, tied=True)) for i in range(30)]
    assert found == [special if i in layers else other for i in range(30)]
    assert RECIPES[name].type_of("token_embd.weight", (100, 256), Place(-1, 30, tied=True)) == "Q6_K"


def test_what_is_never_made_smaller() -> None:
    for name, shape in (("blk.0.attn_norm.weight", (64,)), ("blk.0.attn_q.bias", (64, 64)), ("blk.0.ffn_gate_inp.weight", (8, 64)), ("blk.0.ssm_conv1d.weight", (64, 4))):
        assert not quantizable(name, shape)
        assert RECIPES["Q4_0"].type_of(name, shape, Place(0, 2)) is None
    assert role_of("blk.3.ffn_down_exps.weight") == "ffn_down"


def made(tmp_path: Path, recipe: str = "Q8_0", **options: object) -> Path:
    with open_gguf(MODEL) as file:
        quantize(file, Plan.of(file, RECIPES[recipe]), tmp_path / "out.gguf", **options)   # type: ignore[arg-type]
    return tmp_path / "out.gguf"


@pytest.mark.parametrize("recipe", ["F16", "BF16", "Q8_0", "Q4_0", "Q5_1", "IQ4_NL", "MXFP4"])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_tensor_is_what_its_format_makes_of_it(tmp_path: Path, recipe: str, threads: int) -> None:
    out = made(tmp_path, recipe, threads=threads)
    with open_gguf(MODEL) as old, open_gguf(out) as new:
        plan = Plan.of(old, RECIPES[recipe])
        assert [row.type for row in plan.rows] == [t.type_name for t in new.tensors.values()]
        assert [row.nbytes for row in plan.rows] == [t.nbytes for t in new.tensors.values()]
        assert new.metadata["general.file_type"] == RECIPES[recipe].file_type
        for row in plan.rows:
            x = row.tensor.read().view(np.float32)
            expected = by_name(row.type).quantize(x) if row.changes else row.tensor.read()
            assert np.array_equal(new.tensors[row.tensor.name].read(), expected), row.tensor.name
    with edgerun.load(out, threads=1) as llm:
        assert np.isfinite(llm.logits([1, 2, 3])).all()


def test_choices_override_the_recipe() -> None:
    choices = Choices(output="Q8_0", token_embedding="F16", overrides=((re.compile(r"blk\.0\."), "Q5_0"), (re.compile("ffn"), "Q4_1")))
    with open_gguf(MODEL) as file:
        types = {row.tensor.name: row.type for row in Plan.of(file, RECIPES["Q4_0"], choices).rows}
    assert types["blk.0.ffn_up.weight"] == "Q5_0"
    assert types["blk.1.ffn_up.weight"] == "Q4_1"
    assert types["blk.1.attn_q.weight"] == "Q4_0"
    assert types["blk.0.attn_norm.weight"] == "F32"
    assert (types["output.weight"], types["token_embd.weight"]) == ("Q8_0", "F16")


def test_rows_that_do_not_fill_blocks_are_said_or_refused() -> None:
    with open_gguf(MODEL) as file:
        rows = {row.tensor.name: row for row in Plan.of(file, RECIPES["Q4_K_M"]).rows}
        assert (rows["blk.0.attn_q.weight"].type, rows["blk.0.attn_q.weight"].instead_of) == ("Q5_0", "Q4_K")
        with pytest.raises(UsageError, match="do not fill the blocks of 256"):
            Plan.of(file, RECIPES["Q4_K_M"], Choices(fallback=False))


@pytest.mark.parametrize("name", ["IQ9_Z", "IQ2_XXS2", "F64", "Q8_1"])
def test_types_that_cannot_be_written_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a type that edgerun writes"):
        writable(name)


def test_a_file_in_parts(tmp_path: Path) -> None:
    with open_gguf(MODEL) as file:
        paths = quantize(file, Plan.of(file, RECIPES["Q8_0"]), tmp_path / "out.gguf", most=20_000)
        names = list(file.tensors)
    assert len(paths) > 2
    assert paths[0].name == f"out-00001-of-{len(paths):05}.gguf"
    assert sorted(tmp_path.iterdir()) == paths
    with open_gguf(paths[0]) as new:
        assert list(new.tensors) == names
        assert new.metadata["tokenizer.ggml.model"]


def test_other_metadata(tmp_path: Path) -> None:
    with open_gguf(MODEL) as file:
        changes = [Change.parse("general.name=Small", file.metadata)]
    out = made(tmp_path, changes=changes)
    with open_gguf(out) as new:
        assert new.metadata["general.name"] == "Small"


def test_progress_ends_at_its_total(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    made(tmp_path, progress=lambda done, of: seen.append((done, of)))
    assert seen == sorted(seen)
    assert (seen[0][0], seen[-1][0]) == (0, seen[-1][1])


def test_importance_decides_where_errors_fall(tmp_path: Path) -> None:
    name = "blk.0.ffn_up.weight"
    with open_gguf(MODEL) as file:
        tensor = file.tensors[name]
        x = tensor.read().view(np.float32)
        means = np.full((1, tensor.shape[1]), 1e-4, np.float32)
        means[0, :8] = 100
        quantize(file, Plan.of(file, RECIPES["Q4_0"], measured=True), tmp_path / "out.gguf", importance=Importance({name: means}))
        with open_gguf(tmp_path / "out.gguf") as new:
            error = (by_name("Q4_0").dequantize(new.tensors[name].read()) - x) ** 2
            plain = (by_name("Q4_0").dequantize(by_name("Q4_0").quantize(x)) - x) ** 2
        assert error[:, :8].sum() < 0.8 * plain[:, :8].sum()
        with pytest.raises(ModelError, match="made with another model"):
            quantize(file, Plan.of(file, RECIPES["Q4_0"]), tmp_path / "b.gguf", importance=Importance({name: means[:, :-1]}))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.gguf"]


def test_a_weight_that_does_not_fit_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with open_gguf(MODEL) as file, GGUFWriter(tmp_path / "bad.gguf") as writer:
        writer.add("general.architecture", "llama")
        values = file.tensors["blk.0.ffn_up.weight"].read().view(np.float32).copy()
        values[7, 3] = np.nan
        writer.add_tensor("blk.0.ffn_up.weight", values)
    with open_gguf(tmp_path / "bad.gguf") as file, pytest.raises(ModelError, match=r"blk\.0\.ffn_up\.weight.*the weight in row 7, column 3 is nan"):
        quantize(file, Plan.of(file, RECIPES["Q4_0"]), tmp_path / "out.gguf")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.gguf"]


def test_the_source_is_never_overwritten(tmp_path: Path) -> None:
    copy = tmp_path / "m.gguf"
    copy.write_bytes(MODEL.read_bytes())
    with open_gguf(copy) as file, pytest.raises(UsageError, match="is the model itself"):
        quantize(file, Plan.of(file, RECIPES["Q8_0"]), copy)
    with open_gguf(copy) as file, pytest.raises(OutputError):
        quantize(file, Plan.of(file, RECIPES["Q8_0"]), tmp_path / "no" / "such" / "out.gguf")


def test_importance_is_read_as_it_was_written(tmp_path: Path) -> None:
    squares = np.arange(1.0, 9).reshape(2, 4)
    write(tmp_path / "i.gguf", {"blk.0.ffn_up_exps.weight": (squares, np.array([2.0, 0.0]))}, "text.txt", 3, 512)
    found = Importance.read(tmp_path / "i.gguf")
    means = found.of("blk.0.ffn_up_exps.weight", (2, 16, 4))
    assert means is not None
    assert means.tolist() == [[0.5, 1.0, 1.5, 2.0], [1, 1, 1, 1]]   # an expert that was never used
    assert found.of("other", (2, 4)) is None
    with pytest.raises(ModelError, match="no importance matrix"):
        Importance.read(MODEL)


def test_importance_in_the_older_form(tmp_path: Path) -> None:
    name = b"blk.0.attn_q.weight"
    content = np.array([1, len(name)], "<i4").tobytes() + name + np.array([4, 3], "<i4").tobytes() + np.array([4, 8, 2], "<f4").tobytes()
    (tmp_path / "i.dat").write_bytes(content + np.array([4, 3], "<i4").tobytes() + b"txt")
    means = Importance.read(tmp_path / "i.dat").of("blk.0.attn_q.weight", (5, 3))
    assert means is not None
    assert means.tolist() == [[1.0, 2.0, 0.5]]


@pytest.mark.parametrize("content", [b"", b"\1\0\0\0", b"\1\0\0\0\xff\xff\xff\x7f", b"\xff\xff\xff\xff" * 9, b"\1\0\0\0\1\0\0\0x\1\0\0\0\1\0\0\0\0\0\xc0\x7f"])
def test_a_damaged_importance_matrix_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "i.dat").write_bytes(content)
    with pytest.raises(ModelError, match="importance matrix"):
        Importance.read(tmp_path / "i.dat")
