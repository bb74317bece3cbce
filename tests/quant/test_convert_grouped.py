"""Checkpoints of GPTQ and AWQ, packed here as their libraries do it, keep every number; where no type holds them, that is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_convert import checkpoint, converted, values
from test_convert_view import letters

from edgerun.errors import ModelError, Unsupported
from quant.convert import Checkpoint, Plan, convert
from quant.convert.view import open_checkpoint

WIDTH, FEED, KV = 64, 128, 32   # CONFIG has 2 heads, 1 of keys and values
SHAPES = {"self_attn.q_proj": (WIDTH, WIDTH), "self_attn.k_proj": (KV, WIDTH), "self_attn.v_proj": (KV, WIDTH), "self_attn.o_proj": (WIDTH, WIDTH)}
SHAPES |= {"mlp.gate_proj": (FEED, WIDTH), "mlp.up_proj": (FEED, WIDTH), "mlp.down_proj": (WIDTH, FEED)}
LAYER = "model.layers.0."
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]   # https://github.com/casper-hansen/AutoAWQ/blob/main/awq/modules/linear/gemm.py


def gptq_pack(numbers: np.ndarray, bits: int, axis: int) -> np.ndarray:
    """As pack() of https://github.com/AutoGPTQ/AutoGPTQ/blob/v0.7.1/auto_gptq/nn_modules/qlinear/qlinear_cuda_old.py has it, one at a time."""
    each, lines = 32 // bits, np.moveaxis(numbers, axis, 0)
    words = np.zeros((len(lines) // each, lines.shape[1]), np.uint32)
    for row in range(len(words)):
        for j in range(each):
            words[row] |= lines[row * each + j].astype(np.uint32) << np.uint32(bits * j)
    return np.ascontiguousarray(np.moveaxis(words, 0, axis)).view(np.int32)


def awq_pack(numbers: np.ndarray) -> np.ndarray:
    """As from_linear() of AutoAWQ's WQLinear_GEMM has it."""
    words = np.zeros((len(numbers), numbers.shape[1] // 8), np.uint32)
    for column in range(words.shape[1]):
        for i in range(8):
            words[:, column] |= numbers[:, column * 8 + AWQ_ORDER[i]].astype(np.uint32) << np.uint32(4 * i)
    return words.view(np.int32)


class Matrix:
    """A random matrix [outputs, inputs] of whole numbers in groups of inputs. zeros: the same for all, or 'any', or 'powers'."""

    def __init__(self, outputs: int, inputs: int, bits: int = 4, group: int = 32, zeros: Any = None, order: bool = False, seed: int = 0) -> None:
        draw = np.random.default_rng(seed)
        groups, self.bits = inputs // group, bits
        self.q = draw.integers(0, 1 << bits, (inputs, outputs), np.uint8)
        self.scales = draw.uniform(0.001, 0.02, (groups, outputs)).astype(np.float16)
        middle = 1 << (bits - 1)
        self.zeros = np.full((groups, outputs), middle if zeros is None else zeros if isinstance(zeros, int) else 0, np.uint8)
        if zeros == "any":
            self.zeros = draw.integers(1, 1 << bits, (groups, outputs), np.uint8)
        elif zeros == "powers":
            self.zeros = draw.choice(np.array([1, 2, 4, 8], np.uint8), (groups, outputs))
        self.g_idx = (draw.permutation(inputs) if order else np.arange(inputs)).astype(np.int32) // group

    @property
    def weights(self) -> np.ndarray:
        return (self.scales.astype(np.float64)[self.g_idx] * (self.q.astype(np.int64) - self.zeros.astype(np.int64)[self.g_idx])).T

    def gptq(self, offset: int = 1) -> dict[str, np.ndarray]:
        return {
            "qweight": gptq_pack(self.q, self.bits, 0), "qzeros": gptq_pack(self.zeros - offset & (1 << self.bits) - 1, self.bits, 1),
            "scales": self.scales, "g_idx": self.g_idx,
        }  # fmt: skip

    def awq(self) -> dict[str, np.ndarray]:
        return {"qweight": awq_pack(self.q), "qzeros": awq_pack(self.zeros), "scales": self.scales}


def model(folder: Path, quantization: dict[str, Any], pack: Any, more: dict[str, np.ndarray] | None = None, **matrix: Any) -> tuple[Path, dict[str, Matrix]]:
    """A checkpoint whose matrices are such, and these."""
    matrices = {name: Matrix(*shape, seed=i, **matrix) for i, (name, shape) in enumerate(SHAPES.items())}
    tensors = {f"{LAYER}{name}.{part}": value for name, each in matrices.items() for part, value in pack(each).items()}
    tensors |= {f"{LAYER}{name}.weight": np.ones(WIDTH, np.float16) for name in ("input_layernorm", "post_attention_layernorm")}
    tensors |= {"model.norm.weight": np.ones(WIDTH, np.float16), "model.embed_tokens.weight": np.ones((12, WIDTH), np.float16), "lm_head.weight": np.ones((12, WIDTH), np.float16)}
    config = {"hidden_size": WIDTH, "intermediate_size": FEED, "quantization_config": quantization}
    return checkpoint(folder, tensors | (more or {}), **config), matrices


def row_order(heads: int) -> np.ndarray:
    """Rows of q or k as the file has them: halves of each head by turns."""
    d = WIDTH // 2
    return np.arange(heads * d).reshape(heads, 2, d // 2).swapaxes(1, 2).reshape(-1)


GPTQ, AWQ = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False}, {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm", "zero_point": True}


def v2(each: Matrix) -> dict[str, np.ndarray]:
    return each.gptq(0)


@pytest.mark.parametrize(
    ("quantization", "pack", "matrix", "kind", "number"),
    [
        (GPTQ, Matrix.gptq, {}, "Q4_0", 2),
        (GPTQ | {"group_size": 64}, Matrix.gptq, {"group": 64}, "Q4_0", 2),
        (GPTQ | {"checkpoint_format": "gptq_v2"}, v2, {}, "Q4_0", 2),
        (GPTQ | {"bits": 2}, Matrix.gptq, {"bits": 2}, "Q4_0", 2),
        (GPTQ, Matrix.gptq, {"zeros": "powers"}, "Q4_1", 3),
        (GPTQ, Matrix.gptq, {"zeros": "any"}, "Q5_0", 8),
        (GPTQ | {"checkpoint_format": "gptq_v2"}, v2, {"zeros": 0}, "Q4_1", 3),
        (GPTQ, Matrix.gptq, {"zeros": 0}, "Q4_1", 3),   # 15 in the file, which is 0 less 1
        (GPTQ | {"bits": 8}, Matrix.gptq, {"bits": 8}, "Q8_0", 7),
        (AWQ, Matrix.awq, {}, "Q4_0", 2),
        (AWQ | {"group_size": 64}, Matrix.awq, {"group": 64, "zeros": "any"}, "Q5_0", 8),
        (AWQ | {"bits": None, "w_bit": 4, "group_size": None, "q_group_size": 32}, Matrix.awq, {"zeros": "any"}, "Q5_0", 8),
    ],
)
def test_every_number_is_kept(tmp_path: Path, quantization: dict[str, Any], pack: Any, matrix: dict[str, Any], kind: str, number: int) -> None:
    given = {key: value for key, value in quantization.items() if value is not None}
    folder, matrices = model(tmp_path, given, pack, **matrix)
    with converted(folder, "auto") as file, converted_again(folder, "f32") as floats:
        assert file.metadata["general.file_type"] == number
        for theirs, ours, order in (("self_attn.q_proj", "attn_q", row_order(2)), ("self_attn.k_proj", "attn_k", row_order(1)), ("mlp.up_proj", "ffn_up", slice(None)), ("mlp.down_proj", "ffn_down", slice(None))):
            name = f"blk.0.{ours}.weight"
            assert file.tensors[name].type_name == kind
            assert np.array_equal(values(file, name), matrices[theirs].weights[order])
            assert np.array_equal(values(floats, name), matrices[theirs].weights[order])
        assert file.tensors["token_embd.weight"].type_name == "F16"


GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "grouped" / "grouped.npz")


@pytest.mark.parametrize("name", sorted({key.partition(".")[0] for key in GOLDEN}))
def test_what_the_libraries_packed_is_what_they_make_of_it(tmp_path: Path, name: str) -> None:
    method, bits, group, _ = name.split("-")
    parts = {part: GOLDEN[f"{name}.{part}"] for part in ("qweight", "qzeros", "scales", "g_idx") if f"{name}.{part}" in GOLDEN}
    tensors = {f"{LAYER}mlp.up_proj.{part}": value.astype(np.int32) if value.dtype.kind == "i" else value for part, value in parts.items()}
    config = {"hidden_size": 64, "intermediate_size": 32, "quantization_config": {"quant_method": method, "bits": int(bits), "group_size": int(group)}}
    with converted(checkpoint(tmp_path, tensors, **config), "auto") as file:
        assert file.tensors["blk.0.ffn_up.weight"].type_name in ("Q4_0", "Q5_0", "Q8_0")
        assert np.array_equal(values(file, "blk.0.ffn_up.weight").astype(np.float16), GOLDEN[f"{name}.weights"])


def converted_again(folder: Path, outtype: str) -> Any:
    (folder / "out.gguf").rename(folder / "first.gguf")
    return converted(folder, outtype)


def test_groups_that_are_scattered_become_floats_and_that_is_said(tmp_path: Path) -> None:
    folder, matrices = model(tmp_path, GPTQ | {"desc_act": True}, Matrix.gptq, order=True, zeros="any")
    with Checkpoint(folder) as source:
        plan = Plan.of(source)
        lost = {row.name: row.loss for row in plan.rows if row.loss}
        assert len(lost) == len(SHAPES)
        assert set(lost.values()) == {"columns that lie together are of different groups (desc_act)"}
        assert not any(row.loss for row in Plan.of(source, "f32").rows)
        assert plan.outtype == "f16"
    with converted(folder, "auto") as file:
        assert np.array_equal(values(file, "blk.0.ffn_up.weight"), matrices["mlp.up_proj"].weights.astype(np.float16))
    with converted(folder, "f32") as file:
        assert np.array_equal(values(file, "blk.0.ffn_up.weight"), matrices["mlp.up_proj"].weights)


def test_groups_in_order_are_kept_whatever_desc_act_says(tmp_path: Path) -> None:
    folder, _ = model(tmp_path, GPTQ | {"desc_act": True}, Matrix.gptq)
    with Checkpoint(folder) as source:
        assert {row.type for row in Plan.of(source).rows if "ffn" in row.name and "norm" not in row.name} == {"Q4_0"}
        plan = Plan.of(source, "q8_0")
        assert {row.loss for row in plan.rows if row.type == "Q8_0" and "ffn" in row.name} == {"--outtype auto keeps what is there"}


def test_other_reasons(tmp_path: Path) -> None:
    for matrix, quantization, reason in (
        ({"zeros": "any", "bits": 8}, {"bits": 8}, "their zeros lie too far from the middle"),
        ({"group": 16}, {"group_size": 16}, "columns that lie together are of different groups (desc_act)"),
    ):
        folder, _ = model(tmp_path, GPTQ | quantization, Matrix.gptq, **matrix)
        with Checkpoint(folder) as source:
            assert {row.loss for row in Plan.of(source).rows if "ffn_up" in row.name} == {reason}
    wide = Matrix(WIDTH, WIDTH).gptq() | {"scales": np.full((2, WIDTH), 1 / 3, np.float32)}
    folder, _ = model(tmp_path, GPTQ, Matrix.gptq, {f"{LAYER}self_attn.o_proj.{part}": value for part, value in wide.items()})
    with Checkpoint(folder) as source:
        assert {row.loss for row in Plan.of(source).rows if "attn_output" in row.name} == {"their scales are no F16"}


def test_experts_are_kept_in_one_type(tmp_path: Path) -> None:
    shapes, tensors, matrices = {"w1": (FEED, WIDTH), "w2": (WIDTH, FEED), "w3": (FEED, WIDTH)}, {}, {}
    at = f"{LAYER}block_sparse_moe"
    for i in range(2):
        for name, shape in shapes.items():
            matrices[name, i] = Matrix(*shape, zeros=None if i else "any", seed=10 * i)
            tensors |= {f"{at}.experts.{i}.{name}.{part}": value for part, value in matrices[name, i].awq().items()}
    tensors[f"{at}.gate.weight"] = np.ones((2, WIDTH), np.float16)
    config = {"model_type": "mixtral", "num_local_experts": 2, "num_experts_per_tok": 1, "hidden_size": WIDTH, "intermediate_size": FEED}
    with converted(checkpoint(tmp_path, tensors, quantization_config=AWQ, **config), "auto") as file:
        name = "blk.0.ffn_down_exps.weight"
        assert file.tensors[name].type_name == "Q5_0"
        assert np.array_equal(values(file, name), np.stack([matrices["w2", i].weights for i in range(2)]))


def changed(part: str, value: Any) -> dict[str, np.ndarray]:
    """One matrix with another part; none where there is no value."""
    made = Matrix(WIDTH, WIDTH).gptq()
    made[part] = value(made[part])
    return {f"{LAYER}self_attn.o_proj.{name}": array for name, array in made.items()}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (changed("g_idx", lambda x: x + 1), r"o_proj\.weight has inputs of group 2, and 2 groups"),
        (changed("g_idx", lambda x: x - 1), r"o_proj\.weight has inputs of group -1, and 2 groups"),
        (changed("g_idx", lambda x: x[:-1]), r"which do not belong together with 4 bits in groups of 32"),
        (changed("g_idx", lambda x: x.astype(np.int64)), r"are I32 \[8, 64\], I32 \[2, 8\], I64 \[64\], F16 \[2, 64\]; this is no gptq matrix"),
        (changed("scales", lambda x: x[:, :-1]), "which do not belong together"),
        (changed("scales", lambda x: x * np.float16("nan")), "has a scale that is not finite"),
        (changed("scales", lambda x: x[0]), "this is no gptq matrix"),
        (changed("scales", lambda x: x.view(np.uint16).astype(np.int64)), "this is no gptq matrix"),
        (changed("qzeros", lambda x: x[:1]), "which do not belong together"),
        (changed("qzeros", lambda x: x.astype(np.float32)), "this is no gptq matrix"),
        (changed("qweight", lambda x: x[:-1]), "which do not belong together"),
        (changed("qweight", lambda x: x.reshape(2, 4, 64)), "this is no gptq matrix"),
        (changed("qweight", lambda x: x[:0]), "this is no gptq matrix"),
    ],
)
def test_parts_that_make_no_sense(tmp_path: Path, more: dict[str, np.ndarray], message: str) -> None:
    folder, _ = model(tmp_path, GPTQ, Matrix.gptq, more)
    with Checkpoint(folder) as source, pytest.raises(ModelError, match=message) as caught:
        Plan.of(source)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("part", ["qweight", "qzeros", "scales"])
def test_parts_that_are_missing(tmp_path: Path, part: str) -> None:
    def without(each: Matrix) -> dict[str, np.ndarray]:
        return {name: value for name, value in each.gptq().items() if name != part}

    folder, _ = model(tmp_path, GPTQ, without)
    with Checkpoint(folder) as source, pytest.raises(ModelError, match="the checkpoint is incomplete"):
        Plan.of(source)


@pytest.mark.parametrize(
    ("quantization", "message"),
    [
        ({"bits": 3}, "gptq weights of 3 bits cannot be converted"),
        ({"bits": "4"}, "gptq weights of 4 bits cannot be converted"),
        ({"bits": True}, "gptq weights of True bits"),
        ({"quant_method": "awq", "bits": 8}, "awq weights of 8 bits"),
        ({"quant_method": "awq", "version": "gemv"}, "awq weights of the form 'gemv' are not known; gemm are"),
        ({"checkpoint_format": "marlin"}, "gptq weights of the form 'marlin' are not known; gptq and gptq_v2 are"),
        ({"is_marlin_format": True}, "gptq weights of the form 'marlin'"),
        ({"checkpoint_format": ["x"]}, "are not known"),
        ({"pack_dtype": "int16"}, "are not known"),
        ({"group_size": 0}, "has the group_size 0, not a whole number"),
        ({"group_size": "32"}, "has the group_size 32, not a whole number"),
        ({"quant_method": "aqlm"}, r"its weights are quantized already \(aqlm\)"),
    ],
)
def test_forms_that_are_not_known(tmp_path: Path, quantization: dict[str, Any], message: str) -> None:
    folder, _ = model(tmp_path, GPTQ | quantization, Matrix.gptq)
    with Checkpoint(folder) as source, pytest.raises((ModelError, Unsupported), match=message):
        Plan.of(source)


def alone(folder: Path, matrix: Matrix, **quantization: Any) -> Path:
    """A checkpoint of nothing but one matrix."""
    tensors = {f"{LAYER}self_attn.o_proj.{part}": value for part, value in matrix.awq().items()}
    return checkpoint(folder, tensors, hidden_size=WIDTH, quantization_config=AWQ | quantization)


def test_a_group_that_ends_within_a_block(tmp_path: Path) -> None:
    with Checkpoint(alone(tmp_path, Matrix(WIDTH, WIDTH), group_size=48)) as source:   # two groups as well: 48 and 16
        assert [row.loss for row in Plan.of(source).rows] == ["columns that lie together are of different groups (desc_act)"]


def test_one_group_for_all(tmp_path: Path) -> None:
    matrix = Matrix(WIDTH, WIDTH, group=WIDTH)
    with converted(alone(tmp_path, matrix, group_size=-1), "auto") as file:
        assert np.array_equal(values(file, "blk.0.attn_output.weight"), matrix.weights)


@pytest.mark.parametrize("pack", [Matrix.gptq, Matrix.awq])
@pytest.mark.parametrize("outtype", ["auto", "f32"])
def test_any_rows_can_be_read(tmp_path: Path, pack: Any, outtype: str) -> None:
    folder, _ = model(tmp_path, GPTQ if pack is Matrix.gptq else AWQ, pack, zeros="any")
    with Checkpoint(folder) as source:
        (stored,) = next(row for row in Plan.of(source, outtype).rows if "ffn_up" in row.name).sources
        whole = stored.read()
        for start, stop in ((0, 3), (3, 21), (8, 9), (15, 17), (100, FEED), (5, None)):   # a number of AWQ's holds eight of them
            assert np.array_equal(stored.read(start, stop), whole[start:stop])


def test_the_file_is_as_large_as_the_plan_says(tmp_path: Path) -> None:
    folder, _ = model(tmp_path, GPTQ, Matrix.gptq)
    with Checkpoint(folder) as source:
        plan = Plan.of(source)
        done: list[tuple[int, int]] = []
        convert(plan, tmp_path / "a.gguf", progress=lambda at, of: done.append((at, of)))
    assert done[-1] == (plan.nbytes, plan.nbytes)


def test_quantizing_begins_with_what_the_whole_numbers_say(tmp_path: Path) -> None:
    folder, matrices = model(tmp_path, GPTQ, Matrix.gptq, zeros="any")
    with open_checkpoint(letters(folder)) as view:
        tensor = view.tensors["blk.0.ffn_up.weight"]
        assert tensor.type_name == "F32"
        assert np.array_equal(tensor.read().view(np.float32), matrices["mlp.up_proj"].weights)
