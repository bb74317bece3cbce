"""Metadata that makes no sense ends in one clear line, before anything is allocated or looped over."""

import math
import re
import time

import numpy as np
import pytest
from oracle_case import load

from edgerun.errors import ModelError, Unsupported
from edgerun.graph.lower import lower
from edgerun.models import spec_from
from edgerun.models.components import Alibi, LinearScaling, LongScaling, Routing, Temperature, YarnScaling

LLAMA = load("llama")
GEMMA3, GRANITE, GLM4, APERTUS, MINICPM, EXAONE4 = map(load, ("gemma3", "granite", "glm4", "apertus", "minicpm", "exaone4-swa"))
COHERE2 = load("cohere2")
GPT2 = load("gpt2")
MPT = load("mpt")
NEOX = load("gptneox")
STARCODER2 = load("starcoder2")


def spec_with(case=LLAMA, shapes=None, **changes):
    """The spec of a golden model with some of its metadata changed; '__' stands for '.', None removes a key."""
    metadata = dict(case.metadata)
    for key, value in changes.items():
        key = f"{metadata['general.architecture']}.{key.replace('__', '.')}"
        metadata.pop(key, None) if value is None else metadata.__setitem__(key, value)
    return spec_from(metadata, case.shapes | (shapes or {}), case.read)


NONSENSE = [
    ("block_count", 0), ("block_count", 3), ("block_count", 100_001), ("block_count", 2**31), ("block_count", -1), ("block_count", None),
    ("block_count", 2.0), ("block_count", True), ("block_count", "2"), ("block_count", [2, 2]),
    ("context_length", 0), ("context_length", None), ("context_length", 2**40),
    ("embedding_length", 0), ("embedding_length", 31), ("embedding_length", 2**31), ("embedding_length", None),
    ("feed_forward_length", 0), ("feed_forward_length", None), ("feed_forward_length", [64, 64]),
    ("attention__head_count", 0), ("attention__head_count", None), ("attention__head_count", 2**32 - 1),
    ("attention__head_count_kv", 0), ("attention__head_count_kv", 3), ("attention__head_count_kv", 8),
    ("attention__key_length", 0), ("attention__key_length", 2**31), ("attention__value_length", 0),
    ("attention__layer_norm_rms_epsilon", None), ("attention__layer_norm_rms_epsilon", -1e-6), ("attention__layer_norm_rms_epsilon", math.nan),
    ("attention__layer_norm_rms_epsilon", math.inf), ("attention__layer_norm_rms_epsilon", "small"),
    ("rope__freq_base", 0.0), ("rope__freq_base", -1.0), ("rope__freq_base", math.nan), ("rope__freq_base", math.inf), ("rope__freq_base", 1.0),
    ("rope__dimension_count", 0), ("rope__dimension_count", 7), ("rope__dimension_count", 10), ("rope__dimension_count", 2**31),
    ("rope__scaling__factor", -1.0), ("rope__scaling__factor", math.nan), ("rope__scaling__factor", 0.5), ("rope__scaling__factor", 1e30),
    ("rope__scaling__attn_factor", 0.0),
    ("rope__scaling__type", "\x1b[31mlongrope"), ("rope__scaling__type", 3),
    ("expert_count", -1), ("expert_count", 2**31), ("expert_count", "4"), ("attention__sliding_window", -16), ("attention__causal", False), ("logit_scale", 0.5), ("attention__scale", 0.1),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), NONSENSE, ids=lambda value: ascii(value)[:40])
def test_nonsense_is_one_line_that_names_the_key(key: str, value: object) -> None:
    start = time.perf_counter()
    with pytest.raises(ModelError) as caught:
        spec_with(**{key: value})
    assert time.perf_counter() - start < 0.5
    message = str(caught.value)
    assert key.replace("__", ".") in message
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize(("key", "value"), [("attention__head_count", 8), ("attention__key_length", 16), ("attention__value_length", 4), ("feed_forward_length", 63)])
def test_widths_that_disagree_with_the_tensors_are_refused_by_lowering(key: str, value: int) -> None:
    with pytest.raises(ModelError, match=r"tensor 'blk\.0\..*' has shape \[.*\] where .* call for \["):
        lower(spec_with(**{key: value}), LLAMA.shapes)


LATENT = [
    ("deepseek2-v3", "rope__dimension_count", 20), ("deepseek2-v3", "rope__dimension_count", 0), ("deepseek2-v3", "attention__kv_lora_rank", None),
    ("deepseek2-v3", "attention__kv_lora_rank", -1), ("deepseek2-v3", "attention__q_lora_rank", 2**40), ("deepseek2-v3", "attention__key_length_mla", [20]),
    ("deepseek2-v3", "attention__key_length_mla", 4), ("deepseek2-v3", "rope__scaling__yarn_log_multiplier", math.nan),
    ("deepseek2-v3", "rope__scaling__yarn_log_multiplier", 1e30), ("deepseek2-v3", "leading_dense_block_count", -1),
    ("deepseek2-v3", "attention__temperature_scale", -0.1), ("deepseek2-v3", "attention__temperature_scale", math.inf),
    ("deepseek2-flash", "nextn_predict_layers", 3), ("deepseek2-flash", "nextn_predict_layers", -1), ("deepseek2-flash", "nextn_predict_layers", 2**31),
    ("llama4", "attention__sliding_window", -8), ("llama4", "attention__sliding_window", math.nan), ("llama4", "attention__temperature_length", 0),
    ("llama4", "interleave_moe_layer_step", -1), ("llama4", "interleave_moe_layer_step", None), ("llama4", "expert_count", [128]),
    ("glm4moe", "expert_feed_forward_length", None), ("gpt-oss-ramp", "attention__sliding_window", "16"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "key", "value"), LATENT, ids=lambda value: ascii(value)[:40])
def test_nonsense_about_later_families_names_the_key(name: str, key: str, value: object) -> None:
    with pytest.raises(ModelError) as caught:
        spec_with(load(name), **{key: value})
    # A rope as wide as the key names itself, whichever of the two was changed.
    assert key.replace("__", ".") in str(caught.value) or (key, "rope.dimension_count" in str(caught.value)) == ("attention__key_length_mla", True)


def test_queries_of_deepseek_files_may_grow_with_their_position() -> None:
    spec = spec_with(load("deepseek2-v3"), attention__temperature_scale=0.1, attention__temperature_length=8192)
    assert spec.layers[0].attention.temperature == Temperature(0.1, 8192)
    with pytest.raises(ModelError, match="temperature_length"):
        spec_with(load("deepseek2-v3"), attention__temperature_scale=0.1)


def test_a_window_of_0_gives_llama4_rope_and_all_positions_everywhere() -> None:
    spec = spec_with(load("llama4"), attention__sliding_window=0)
    assert len({layer.attention for layer in spec.layers}) == 1
    assert spec.layers[3].attention.rope
    assert spec.layers[3].attention.chunk is None


def test_llama4_without_a_window_has_chunks_of_8192_where_that_hides_something() -> None:
    near = spec_with(load("llama4"), attention__sliding_window=None).layers[0].attention
    far = spec_with(load("llama4"), attention__sliding_window=None, context_length=10_000).layers[0].attention
    assert (near.chunk, far.chunk) == (None, 8192)


def message(architecture: str, case=LLAMA, drop: str = "", **shapes: tuple[int, ...]) -> str:
    """What is said of a golden model under another name, without the tensors that have `drop` in theirs, and with further ones."""
    keys = {key.replace(case.metadata["general.architecture"], architecture, 1): value for key, value in case.metadata.items()}
    tensors = {name: shape for name, shape in case.shapes.items() if not drop or drop not in name} | {name.replace("__", "."): s for name, s in shapes.items()}
    with pytest.raises(Unsupported) as caught:
        spec_from(keys | {"general.architecture": architecture}, tensors, case.read)
    return str(caught.value)


def test_an_unknown_architecture_names_the_nearest() -> None:
    said = message("llama9")
    assert re.match(r"architecture 'llama9' is not supported; the nearest of \d+ supported ones is 'llama' by name", said)
    assert "'llama' by tensors, which takes all of them" in said
    assert said.endswith("docs/adding.md says how to add one")


def test_of_an_unknown_architecture_the_tensors_count_as_well() -> None:
    said = message("gemma-nova", load("qwen3"), blk__0__attn_gate__weight=(4, 4), blk__1__attn_gate__weight=(4, 4))
    assert re.search(r"'gemma\w*' by name and 'qwen3' by tensors, which does not know 'blk\.N\.attn_gate\.weight'", said)
    said = message("gwen", load("seed_oss"), drop="ffn_down")
    assert "'seed_oss' by tensors, which needs also 'blk.N.ffn_down.weight'. docs" in said


def test_a_large_file_of_an_unknown_architecture_is_answered_for_at_once() -> None:
    start = time.perf_counter()
    layers = {f"blk.{i}.{name.removeprefix('blk.0.')}": shape for i in range(2, 3000) for name, shape in LLAMA.shapes.items() if name.startswith("blk.0.")}
    with pytest.raises(Unsupported, match=r"nearest .* by name is 'llama'"):
        spec_from(LLAMA.metadata | {"general.architecture": "llama9", "llama9.block_count": 3000}, LLAMA.shapes | layers, LLAMA.read)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("name", ["", "spec", "components", "hyperparameters", "rope", "__init__", "os", "../llama", "llama.spec", "\x1b[2J" * 100, "x" * 10_000])
def test_no_other_name_is_taken_for_an_architecture(name: str) -> None:
    with pytest.raises(Unsupported) as caught:
        spec_from(LLAMA.metadata | {"general.architecture": name}, LLAMA.shapes, LLAMA.read)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", [None, 3, ["llama"], b"llama"])
def test_an_architecture_that_is_not_text_is_refused(name: object) -> None:
    with pytest.raises(ModelError, match=r"general\.architecture"):
        spec_from(LLAMA.metadata | {"general.architecture": name}, LLAMA.shapes, LLAMA.read)


def test_a_file_without_tensors_is_said_to_hold_no_model() -> None:
    with pytest.raises(ModelError, match="only a vocabulary"):
        spec_from(LLAMA.metadata, {}, LLAMA.read)
    with pytest.raises(ModelError, match=r"token_embd\.weight"):
        spec_from(LLAMA.metadata, {name: shape for name, shape in LLAMA.shapes.items() if name.startswith("blk.")}, LLAMA.read)


def test_neutral_values_of_decisive_keys_are_welcome() -> None:
    plain = spec_with()
    assert spec_with(expert_count=0, attention__sliding_window=0, attention__causal=True, logit_scale=1.0) == plain
    assert spec_with(attention__sliding_window=plain.context) == plain


def test_defaults_are_those_of_llama_cpp() -> None:
    spec = spec_with(attention__head_count_kv=None, attention__key_length=None, attention__value_length=None, rope__dimension_count=None, rope__freq_base=None)
    heads, rope = spec.layers[0].attention.heads, spec.layers[0].attention.rope
    assert (heads.queries, heads.kv, heads.key, heads.value) == (4, 4, 8, 8)
    assert (rope.width, rope.base) == (8, 10000.0)


@pytest.mark.parametrize(
    ("changes", "scaling"),
    [
        ({}, None),
        ({"rope__scaling__type": "none", "rope__scaling__factor": 4.0}, None),
        ({"rope__scaling__factor": 0.0}, None),
        ({"rope__scaling__factor": 4.0}, LinearScaling(4.0)),
        ({"rope__scale_linear": 2.0}, LinearScaling(2.0)),
        ({"rope__scaling__type": "yarn", "rope__scaling__factor": 8.0}, YarnScaling(8.0, 512)),
        ({"rope__scaling__type": "yarn", "rope__scaling__factor": 8.0, "rope__scaling__original_context_length": 64}, YarnScaling(8.0, 64)),
        ({"rope__scaling__type": "yarn", "rope__scaling__factor": 8.0, "rope__scaling__yarn_beta_fast": 16.0}, YarnScaling(8.0, 512, 16.0)),
        ({"rope__scaling__type": "yarn", "rope__scaling__factor": 8.0, "rope__scaling__yarn_attn_factor": 1.5}, YarnScaling(8.0, 512, attention=1.5)),
    ],
)
def test_rope_scaling(changes: dict, scaling: object) -> None:
    assert spec_with(**changes).layers[0].attention.rope.scaling == scaling


def test_rope_divisors_must_be_positive_and_one_per_pair() -> None:
    shape = {"rope_freqs.weight": (4,)}
    metadata, shapes = LLAMA.metadata, LLAMA.shapes | shape
    spec = spec_from(metadata, shapes, lambda name: np.array([1, 1, 2, 4], np.float32))
    assert spec.layers[0].attention.rope.divisors == (1.0, 1.0, 2.0, 4.0)
    assert spec.consumed == {"rope_freqs.weight"}
    for bad in (0.0, -1.0, math.nan, math.inf, 1e-40):
        with pytest.raises(ModelError, match=r"rope_freqs\.weight"):
            spec_from(metadata, shapes, lambda name, bad=bad: np.array([1, 1, 2, bad], np.float32))
    with pytest.raises(ModelError, match=r"rope_freqs\.weight.*\[5\].*\[4\]"):
        spec_with(shapes={"rope_freqs.weight": (5,)})


MIXED = {"expert_count": 8, "expert_used_count": 2}


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, {}),
        ({"expert_gating_func": 1, "expert_weights_norm": False}, {"normalise": None}),
        ({"expert_gating_func": 2}, {"gating": "sigmoid"}),
        ({"expert_gating_func": 3, "expert_weights_norm": False}, {}),
        ({"expert_weights_scale": 2.5, "expert_weights_norm": True}, {"scale": 2.5}),
        ({"expert_group_count": 4, "expert_group_used_count": 2}, {"groups": 4, "groups_used": 2}),
        ({"expert_gating_func": 2, "expert_group_count": 2}, {"gating": "sigmoid", "groups": 2, "groups_used": 2, "group_best": 2}),
        ({"expert_group_count": 0, "expert_group_used_count": 0}, {}),
    ],
)
def test_routing(changes: dict, fields: dict) -> None:
    routing = spec_with(**MIXED | changes).layers[0].feed_forward.routing
    assert routing == Routing(8, 2, **{"normalise": 0.0} | fields)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("expert_used_count", 0), ("expert_used_count", 9), ("expert_used_count", None), ("expert_used_count", 1.0), ("expert_count", 1025),
        ("expert_gating_func", 4), ("expert_gating_func", -1), ("expert_gating_func", "softmax"), ("expert_weights_norm", 0.5), ("expert_weights_norm", [True]),
        ("expert_weights_scale", -1.0), ("expert_weights_scale", math.nan), ("expert_group_count", 3), ("expert_group_count", 16),
        ("expert_shared_feed_forward_length", 64), ("leading_dense_block_count", 1),
    ],
)  # fmt: skip
def test_routing_that_makes_no_sense_names_the_key(key: str, value: object) -> None:
    with pytest.raises(ModelError, match=key):
        spec_with(**MIXED | {key: value})


def test_groups_must_leave_enough_experts() -> None:
    with pytest.raises(ModelError, match="expert_group_count"):
        spec_with(expert_count=8, expert_used_count=3, expert_group_count=4, expert_group_used_count=1)


LONG = {"rope_factors_long.weight": (4,), "rope_factors_short.weight": (4,)}


@pytest.mark.parametrize("kind", [None, "none", "longrope"])
def test_long_ropes(kind: str | None) -> None:
    metadata = LLAMA.metadata | {"llama.rope.scaling.original_context_length": 64} | ({"llama.rope.scaling.type": kind} if kind else {})
    spec = spec_from(metadata, LLAMA.shapes | LONG, lambda name: np.array([1, 1, 2, 4 if "short" in name else 8], np.float32))
    assert spec.layers[0].attention.rope.scaling == LongScaling((1, 1, 2, 4), (1, 1, 2, 8), 64)
    assert spec.consumed == LONG.keys()
    assert lower(spec, LLAMA.shapes | LONG).horizons == (64,)


@pytest.mark.parametrize(
    ("shapes", "changes", "message"),
    [
        ({}, {"rope__scaling__type": "longrope"}, r"rope_factors_short\.weight.* is missing"),
        ({"rope_factors_long.weight": (4,)}, {}, r"rope_factors_short\.weight.* is missing"),
        ({"rope_factors_long.weight": (5,), "rope_factors_short.weight": (4,)}, {}, r"rope_factors_long\.weight.*\[5\].*\[4\]"),
        (LONG, {"rope__scaling__type": "yarn", "rope__scaling__factor": 4.0}, "twice"),
        (LONG, {"rope__scaling__type": "longrope", "rope__scaling__factor": 4.0}, "twice"),
    ],
)
def test_long_ropes_that_make_no_sense(shapes: dict, changes: dict, message: str) -> None:
    metadata = LLAMA.metadata | {f"llama.{key.replace('__', '.')}": value for key, value in changes.items()}
    with pytest.raises(ModelError, match=message):
        spec_from(metadata, LLAMA.shapes | shapes, lambda name: np.ones(4, np.float32))


def test_a_number_by_layer_may_be_one_for_all() -> None:
    assert spec_with(attention__head_count_kv=[2, 2]) == spec_with(attention__head_count_kv=2)
    for bad in ([2, 1], [0, 0], [2], [2.5, 2.5], [True, True], ["2", "2"], [[2], [2]], []):
        with pytest.raises(ModelError, match="head_count_kv"):
            spec_with(attention__head_count_kv=bad)
    plain = spec_with(APERTUS).layers
    assert plain[0].feed_forward != plain[1].feed_forward
    for bad in (None, [0.5], [0.5, math.nan], [0.5, 1e9], 1e9, "x", [0.5, None]):
        with pytest.raises(ModelError, match=r"'xielu\.beta'"):
            spec_from(APERTUS.metadata | {"xielu.beta": bad}, APERTUS.shapes, APERTUS.read)
    one = spec_from(APERTUS.metadata | {f"xielu.{name}": 0.5 for name in ("alpha_p", "alpha_n", "beta", "eps")}, APERTUS.shapes, APERTUS.read).layers
    assert one[0].feed_forward == one[1].feed_forward


def test_granite_may_have_no_rope() -> None:
    assert spec_with(GRANITE, rope__scaling__finetuned=True) == spec_with(GRANITE)
    assert spec_with(GRANITE, rope__scaling__finetuned=False).layers[0].attention.rope is None
    with pytest.raises(ModelError, match="finetuned"):
        spec_with(GRANITE, rope__scaling__finetuned=1)


@pytest.mark.parametrize(
    ("window", "pattern", "want"),
    [(None, None, "rr"), (0, None, "rr"), (16, [True, False], "w-"), (16, None, "ww"), (16, 1, "--"), (512, [True, False], "r-"), (16, [False, True], "-w")],
)
def test_global_layers_of_exaone4_have_no_rope_where_there_is_a_window(window: int | None, pattern: object, want: str) -> None:
    layers = spec_with(EXAONE4, attention__sliding_window=window, attention__sliding_window_pattern=pattern).layers
    kinds = "".join("-" if not layer.attention.rope else "w" if layer.attention.window else "r" for layer in layers)
    assert kinds == want


def test_old_files_of_minicpm_state_no_scales() -> None:
    spec = spec_with(MINICPM, embedding_scale=None, residual_scale=None, logit_scale=None)
    assert spec.embedding.scale == 12.0
    assert spec.layers[0].residual_scale == pytest.approx(1.4 / math.sqrt(2))
    assert spec.head.scale == pytest.approx(256 / 48)


@pytest.mark.parametrize("sections", [[0, 0, 0, 0], [], None])
def test_sections_that_are_none_leave_glm4_its_neighbours(sections: object) -> None:
    assert spec_with(GLM4, rope__dimension_sections=sections).layers[0].attention.rope.pairing == "neighbours"


@pytest.mark.parametrize("sections", [8, "8", [[1]], [math.nan], [None], [1] * 9])
def test_sections_that_make_no_sense(sections: object) -> None:
    with pytest.raises(ModelError, match="dimension_sections"):
        spec_with(GLM4, rope__dimension_sections=sections)


@pytest.mark.parametrize(
    ("changes", "sliding"),
    [
        ({}, [True] * 5 + [False]),
        ({"attention__sliding_window": None}, [False] * 6),
        ({"attention__sliding_window": 0}, [False] * 6),
        ({"attention__sliding_window_pattern": 3}, [True, True, False] * 2),
        ({"attention__sliding_window_pattern": 0}, [True] * 6),
        ({"attention__sliding_window_pattern": [True, False, False, False, False, True]}, [True, False, False, False, False, True]),
    ],
)
def test_sliding_layers(changes: dict, sliding: list[bool]) -> None:
    layers = spec_with(GEMMA3, **changes).layers
    assert [layer.attention.window == 16 for layer in layers] == sliding
    assert [layer.attention.rope.base == 10000.0 for layer in layers] == sliding


@pytest.mark.parametrize("pattern", [[True], [True] * 10_000, ["no"] * 6, [math.nan] * 6, [2] * 6, [None] * 6, [[]] * 6, "true", -1])
def test_a_pattern_that_does_not_fit_is_refused(pattern: object) -> None:
    with pytest.raises(ModelError, match="sliding_window_pattern"):
        spec_with(GEMMA3, attention__sliding_window_pattern=pattern)


NONSENSE_ELSEWHERE = [
    (NEOX, "use_parallel_residual", None), (NEOX, "use_parallel_residual", 1), (NEOX, "use_parallel_residual", "yes"),
    (NEOX, "attention__layer_norm_epsilon", None), (NEOX, "attention__layer_norm_epsilon", math.nan),
    (MPT, "attention__clamp_kqv", -1.0), (MPT, "attention__clamp_kqv", math.inf), (MPT, "attention__clamp_kqv", [1.0]),
    (MPT, "attention__max_alibi_bias", -8.0), (MPT, "attention__max_alibi_bias", math.nan), (MPT, "attention__max_alibi_bias", "8"),
    (COHERE2, "attention__sliding_window", None), (COHERE2, "attention__sliding_window", 0), (COHERE2, "logit_scale", -1.0),
    (GPT2, "attention__max_alibi_bias", 8.0), (GPT2, "attention__clamp_kqv", 8.0), (STARCODER2, "attention__sliding_window", -1),
]  # fmt: skip


@pytest.mark.parametrize(("case", "key", "value"), NONSENSE_ELSEWHERE, ids=lambda value: ascii(value)[:40])
def test_nonsense_in_keys_that_llama_has_not(case, key: str, value: object) -> None:
    with pytest.raises(ModelError) as caught:
        spec_with(case, **{key: value})
    assert key.replace("__", ".") in str(caught.value)


def test_a_table_of_positions_is_as_long_as_the_context() -> None:
    assert GPT2.spec().longest == 128
    assert LLAMA.spec().longest is None
    with pytest.raises(ModelError, match=r"position_embd\.weight.*\[128, 48\].*\[64, 48\]"):
        lower(spec_with(GPT2, context_length=64), GPT2.shapes)


@pytest.mark.parametrize(
    ("heads", "slopes"),
    [(1, [8]), (4, [2, 4, 6, 8]), (6, [2, 4, 6, 8, 1, 3]), (3, [4, 8, 2])],
)
def test_slopes_of_alibi(heads: int, slopes: list[float]) -> None:
    assert Alibi(8.0).slopes(heads) == tuple(2.0**-s for s in slopes)


def test_mpt_may_do_without_alibi_and_clamp() -> None:
    attention = spec_with(MPT, attention__max_alibi_bias=0.0, attention__clamp_kqv=None).layers[0].attention
    assert (attention.alibi, attention.clamp) == (None, None)


def test_starcoder2_slides_where_its_context_is_longer() -> None:
    assert spec_with(STARCODER2).layers[0].attention.window is None
    assert spec_with(STARCODER2, context_length=16384).layers[0].attention.window == 4096


def test_caches_are_those_of_the_program() -> None:
    spec = GEMMA3.spec()
    assert [cache.window for cache in lower(spec, GEMMA3.shapes).caches] == [16] * 5 + [None]


LFM2 = load("lfm2")


@pytest.mark.parametrize("value", [[0], [0, 2, 2], [0, 3], [0, -1], [0, 2.0], [0, True], [0, "2"], [[0, 2]], "02", b"02", [0, 1 << 40], [], None, math.nan])
def test_counts_of_each_layer_that_make_no_sense(value: object) -> None:
    with pytest.raises(ModelError, match="head_count_kv"):
        lower(spec_from({**LFM2.metadata, "lfm2.attention.head_count_kv": value}, LFM2.shapes, LFM2.read), LFM2.shapes)


def test_counts_of_each_layer_from_an_array_of_the_file() -> None:
    as_list = spec_from({**LFM2.metadata, "lfm2.attention.head_count_kv": [0, 2]}, LFM2.shapes, LFM2.read)
    assert as_list == spec_from(LFM2.metadata, LFM2.shapes, LFM2.read)
    with pytest.raises(ModelError, match="is missing from"):   # all of them attention: other tensors
        lower(spec_from({**LFM2.metadata, "lfm2.attention.head_count_kv": 2}, LFM2.shapes, LFM2.read), LFM2.shapes)


NEXT = load("qwen3next")


@pytest.mark.parametrize("value", [[True], [True, 2], [True, None], "true", True, 1, [True, False, True], [[True, False]], 0.5])
def test_flags_of_each_layer_that_make_no_sense(value: object) -> None:
    with pytest.raises(ModelError, match="recurrent_layers"):
        spec_from({**NEXT.metadata, "qwen3next.attention.recurrent_layers": value}, NEXT.shapes, NEXT.read)


def test_without_flags_every_so_many_layers_are_attention() -> None:
    plain = {key: value for key, value in NEXT.metadata.items() if not key.endswith("recurrent_layers")}
    assert spec_from(plain, NEXT.shapes, NEXT.read) == spec_from(NEXT.metadata, NEXT.shapes, NEXT.read)
    del plain["qwen3next.full_attention_interval"]   # 4, as in llama.cpp: both layers are delta nets
    with pytest.raises(ModelError, match=r"blk\.1\.attn_qkv"):
        lower(spec_from(plain, NEXT.shapes, NEXT.read), NEXT.shapes)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("mamba", "ssm.inner_size", 0), ("mamba", "ssm.state_size", -1), ("mamba", "ssm.conv_kernel", 1), ("mamba", "ssm.conv_kernel", 1 << 20),
        ("mamba", "ssm.time_step_rank", None), ("mamba", "ssm.dt_b_c_rms", "yes"), ("mamba", "ssm.dt_b_c_rms", 1),
        ("mamba2", "ssm.group_count", 3), ("mamba2", "ssm.time_step_rank", 5), ("mamba2", "ssm.time_step_rank", 64), ("mamba2", "ssm.group_count", 0),
        ("lfm2", "shortconv.l_cache", 1), ("lfm2", "shortconv.l_cache", [3]), ("qwen3next", "ssm.group_count", 3), ("qwen3next", "ssm.inner_size", 63),
        ("qwen3next", "full_attention_interval", 0), ("granitehybrid", "rope.scaling.finetuned", "no"), ("falcon-h1", "ssm.inner_size", 47),
    ],
)   # fmt: skip
def test_recurrent_keys_that_make_no_sense(name: str, key: str, value: object) -> None:
    case = load(name)
    with pytest.raises(ModelError, match=key.rpartition(".")[2] + "|ssm"):
        spec_from({**case.metadata, f"{case.metadata['general.architecture']}.{key}": value}, case.shapes, case.read)
