"""What lowering produces, and that every tensor of a file is held to account."""

import dataclasses
from pathlib import Path

import pytest

from edgerun.errors import ModelError
from edgerun.gguf import open_gguf
from edgerun.graph import ops
from edgerun.graph.lower import lower
from edgerun.graph.ops import View
from edgerun.models import spec_from
from edgerun.models.components import Attention, Embedding, FeedForward, Head, Heads, Layer, Norm, Rope
from edgerun.models.spec import Spec

GOLDEN = Path(__file__).parents[1] / "golden" / "oracle"
NORM = Norm("rms", 1e-5)
TINY = Spec(
    architecture="tiny",
    n_vocab=7,
    n_embd=8,
    context=32,
    embedding=Embedding(),
    layers=(Layer(Attention(Heads(queries=2, kv=1, key=4, value=6), Rope(4, 100.0, "halves")), FeedForward(10, "silu"), NORM),) * 2,
    head=Head(NORM),
    pooling="none",
)
SHAPES = {"token_embd.weight": (7, 8), "output_norm.weight": (8,)} | {
    f"blk.{i}.{name}.weight": shape
    for i in range(2)
    for name, shape in {
        "attn_norm": (8,), "attn_q": (8, 8), "attn_k": (4, 8), "attn_v": (6, 8), "attn_output": (8, 12),
        "ffn_norm": (8,), "ffn_gate": (10, 8), "ffn_up": (10, 8), "ffn_down": (8, 10),
    }.items()
}  # fmt: skip


def layer_with(**changes) -> Spec:
    return dataclasses.replace(TINY, layers=(dataclasses.replace(TINY.layers[0], **changes),) * 2)


def test_a_plain_decoder_is_nine_ops_a_layer() -> None:
    program = lower(TINY, SHAPES)
    layer = [ops.Norm, ops.Linear, ops.Rope, ops.Store, ops.Attention, ops.Linear, ops.Norm, ops.Linear, ops.Gate, ops.Linear]
    assert [type(op) for op in program.ops] == [ops.Embed, *layer, *layer, ops.Select, ops.Norm, ops.Hidden, ops.Linear]
    assert program.causal
    assert program.n_vocab == 7
    assert program.tensors == SHAPES.keys()


def test_layers_share_buffers() -> None:
    assert lower(TINY, SHAPES).buffers == {"x": 8, "h": 8, "qkv": 18, "att": 12, "gu": 20, "act": 10, "logits": 7}


def test_q_k_v_are_one_linear_and_one_rope_turns_q_and_k() -> None:
    _, _, qkv, rope, store, attention, output, *_ = lower(TINY, SHAPES).ops
    assert qkv == ops.Linear(
        View("h", 0, 8), View("qkv", 0, 18), ("blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"), (None, None, None)
    )
    assert (rope.x, rope.heads) == (View("qkv", 0, 12), 3)
    assert store == ops.Store(View("qkv", 8, 4), View("qkv", 12, 6), 0)
    assert attention == ops.Attention(View("qkv", 0, 8), View("att", 0, 12), 0, heads=2, scale=0.5)
    assert output == ops.Linear(View("att", 0, 12), View("x", 0, 8), ("blk.0.attn_output.weight",), (None,), residual=View("x", 0, 8))


def test_gate_and_up_are_one_linear_and_down_adds_to_the_stream() -> None:
    gate_up, gate, down = lower(TINY, SHAPES).ops[8:11]
    assert gate_up.weights == ("blk.0.ffn_gate.weight", "blk.0.ffn_up.weight")
    assert gate == ops.Gate(View("gu", 0, 10), View("gu", 10, 10), View("act", 0, 10), "silu")
    assert (down.out, down.residual) == (View("x", 0, 8), View("x", 0, 8))


def test_the_head_is_the_token_table_unless_the_file_has_one() -> None:
    assert lower(TINY, SHAPES).ops[-1].weights == ("token_embd.weight",)
    assert lower(TINY, SHAPES | {"output.weight": (7, 8)}).ops[-1].weights == ("output.weight",)


def test_biases_are_taken_where_the_file_has_them() -> None:
    program = lower(TINY, SHAPES | {"blk.1.attn_k.bias": (4,), "blk.0.ffn_down.bias": (8,)})
    biases = [bias for op in program.ops if isinstance(op, ops.Linear) for bias in op.biases if bias]
    assert biases == ["blk.0.ffn_down.bias", "blk.1.attn_k.bias"]


def test_a_fused_qkv_matrix_is_taken_where_the_file_has_one() -> None:
    shapes = {name: shape for name, shape in SHAPES.items() if not name.startswith(("blk.0.attn_q", "blk.0.attn_k", "blk.0.attn_v"))}
    program = lower(TINY, shapes | {"blk.0.attn_qkv.weight": (18, 8)})
    assert program.ops[2].weights == ("blk.0.attn_qkv.weight",)


def test_post_norms_work_beside_the_stream() -> None:
    spec = layer_with(post_attn_norm="post_attention_norm", residual_scale=0.5)
    shapes = SHAPES | {f"blk.{i}.post_attention_norm.weight": (8,) for i in range(2)}
    linear, norm, scale, add = lower(spec, shapes).ops[6:10]
    x, t = View("x", 0, 8), View("t", 0, 8)
    assert (linear.out, linear.residual) == (t, None)
    assert norm == ops.Norm(t, t, "blk.0.post_attention_norm.weight", 1e-5)
    assert (scale, add) == (ops.Scale(t, t, 0.5), ops.Add(x, t, x))


def test_a_parallel_layer_normalises_before_the_stream_changes() -> None:
    kinds = [type(op) for op in lower(layer_with(parallel=True), SHAPES).ops[1:4]]
    assert kinds == [ops.Norm, ops.Norm, ops.Linear]
    shared = lower(layer_with(parallel=True, ffn_norm=None), {name: shape for name, shape in SHAPES.items() if "ffn_norm" not in name})
    assert [op.x.buffer for op in shared.ops if isinstance(op, ops.Linear)][:3] == ["h", "att", "h"]


def test_sliding_layers_have_windows_in_op_and_cache() -> None:
    gguf = open_gguf(GOLDEN / "gemma3" / "model.gguf")
    shapes = {name: tensor.shape for name, tensor in gguf.tensors.items()}
    program = lower(spec_from(gguf.metadata, shapes, lambda name: pytest.fail(name)), shapes)
    windows = [16] * 5 + [None]
    assert [op.window for op in program.ops if isinstance(op, ops.Attention)] == windows
    assert [cache.window for cache in program.caches] == windows
    gguf.close()


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_missing_tensor_is_named(name: str) -> None:
    with pytest.raises(ModelError, match=f"'{name}' .* is missing"):
        lower(TINY, {other: shape for other, shape in SHAPES.items() if other != name})


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_misshapen_tensor_is_named_with_both_shapes(name: str) -> None:
    for shape in ((*SHAPES[name], 1), (SHAPES[name][0] + 1, *SHAPES[name][1:]), SHAPES[name][::-1] if len(set(SHAPES[name])) > 1 else ()):
        with pytest.raises(ModelError) as caught:
            lower(TINY, SHAPES | {name: shape})
        assert f"'{name}' has shape {list(shape)}" in str(caught.value)
        assert str(list(SHAPES[name])) in str(caught.value)


def test_an_unused_tensor_is_named() -> None:
    with pytest.raises(ModelError, match=r"1 tensors? .*'blk\.0\.attn_gate\.weight'"):
        lower(TINY, SHAPES | {"blk.0.attn_gate.weight": (8, 8)})


def test_a_layer_beyond_the_last_is_unused() -> None:
    with pytest.raises(ModelError, match=r"blk\.2\.attn_norm\.weight"):
        lower(TINY, SHAPES | {"blk.2.attn_norm.weight": (8,)})


def test_unused_names_cannot_speak_to_a_terminal() -> None:
    with pytest.raises(ModelError) as caught:
        lower(TINY, SHAPES | {f"\x1b]0;{i}\n" + "y" * 1000: (1,) for i in range(1000)})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_consumed_tensors_count_as_used() -> None:
    shapes = SHAPES | {"rope_freqs.weight": (2,)}
    assert "rope_freqs.weight" not in lower(dataclasses.replace(TINY, consumed=frozenset({"rope_freqs.weight"})), shapes).tensors
    with pytest.raises(ModelError, match="rope_freqs"):
        lower(TINY, shapes)
