"""Weights to bytes: equal to llama.cpp's where that is simple rounding, no worse where it is a search."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from format_cases import CODEBOOKS, every_coded, every_format, nmse, weights
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerun.errors import ModelError
from edgerun.formats import Format, by_name

GOLDEN = Path(__file__).parents[1] / "golden" / "formats"
SIMPLE = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
COARSE = ("Q2_K", "Q3_K", "Q2_0", "TQ2_0", "TQ1_0", "Q1_0", *(f.name for f in CODEBOOKS))   # may be off by as much as a weight is large
BOUNDS = {
    "F32": 0, "F16": 1e-7, "BF16": 4e-6, "Q8_0": 5e-5, "Q6_K": 5e-4, "Q5_K": 2e-3, "Q5_1": 2.2e-3, "Q5_0": 2.8e-3, "Q4_K": 8e-3,
    "Q4_1": 9.5e-3, "Q4_0": 1.1e-2, "IQ4_NL": 8e-3, "IQ4_XS": 8.5e-3, "Q3_K": 3e-2, "Q2_K": 0.1,
    "NVFP4": 7.7e-3, "MXFP4": 1.55e-2, "Q2_0": 0.18, "TQ2_0": 0.3, "TQ1_0": 0.3, "Q1_0": 0.46,
    "IQ3_S": 2.25e-2, "IQ3_XXS": 3.8e-2, "IQ2_S": 7.5e-2, "IQ2_XS": 9.5e-2, "IQ2_XXS": 0.132, "IQ1_M": 0.212, "IQ1_S": 0.26,
}   # fmt: skip

# Errors of llama.cpp's ggml_quantize_chunk (libggml-base 0.25) for `weights(64, 1024)`: without importance (all ones where it
# wants some), and with that of `test_no_worse_than_llama_cpp`, then weighted by it.
LLAMA_CPP = {
    "Q4_0": (0.01058, 0.007766), "Q4_1": (0.007593, 0.003946), "Q5_0": (0.002632, 0.001974), "Q5_1": (0.001796, 0.0009594),
    "Q8_0": (4.178e-05, 4.469e-05), "Q2_K": (0.1048, 0.04784), "Q3_K": (0.02964, 0.02023), "Q4_K": (0.006446, 0.004175),
    "Q5_K": (0.001677, 0.001199), "Q6_K": (0.0004289, 0.0003121), "IQ2_XXS": (0.1389, 0.08389), "IQ2_XS": (0.1018, 0.06093),
    "IQ3_XXS": (0.05471, 0.01934), "IQ1_S": (0.2957, 0.1911), "IQ4_NL": (0.007465, 0.00557), "IQ3_S": (0.0337, 0.01488),
    "IQ2_S": (0.07751, 0.05193), "IQ4_XS": (0.007592, 0.005758), "IQ1_M": (0.2342, 0.1312), "TQ1_0": (0.7483, 0.7419),
    "TQ2_0": (0.7483, 0.7419), "MXFP4": (0.01509, 0.01542), "NVFP4": (0.008588, 0.008696), "Q1_0": (0.4292, 0.4292), "Q2_0": (0.5671, 0.578),
}   # fmt: skip


def truth(fmt: Format, x: np.ndarray) -> np.ndarray:
    return gguf.quants.quantize(x, gguf.GGMLQuantizationType(fmt.id)).view(np.uint8)


def shaped(fmt: Format, x: np.ndarray) -> np.ndarray:
    """x repeated to whole blocks."""
    return np.resize(x, (1, -(-x.size // fmt.block) * fmt.block)).astype(np.float32)


@pytest.mark.parametrize("name", SIMPLE)
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_llama_cpp(name: str, seed: int) -> None:
    fmt, x = by_name(name), weights(40, 512, seed)
    x[3] = 0
    x[4, ::7] = 0
    x[5] = np.round(x[5] * 50)   # ties
    assert np.array_equal(fmt.quantize(x), truth(fmt, x))


@pytest.mark.parametrize("name", SIMPLE)
@settings(max_examples=60)
@given(data=st.data())
def test_any_numbers_equal_to_llama_cpp(name: str, data: st.DataObject) -> None:
    numbers = st.floats(-60000, 60000, width=32).filter(lambda v: v == 0 or abs(v) > 1e-4)
    fmt, x = by_name(name), np.array([data.draw(st.lists(numbers, min_size=32, max_size=32))], np.float32)
    assert np.array_equal(fmt.quantize(x), truth(fmt, x))


@pytest.mark.parametrize("name", ["F32", "F16", "BF16"])
def test_float_types_hold_what_floats_hold(name: str) -> None:
    fmt, x = by_name(name), np.array([[0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, 3e38, 65504, 1 / 3]], np.float32)
    with np.errstate(over="ignore"):
        assert np.array_equal(fmt.quantize(x), truth(fmt, x))


@every_format
def test_error_bounds(fmt: Format) -> None:
    x = weights(64, 1024)
    assert nmse(fmt.dequantize(fmt.quantize(x)), x) <= BOUNDS[fmt.name]


@every_coded
def test_no_worse_than_llama_cpp(fmt: Format) -> None:
    x = weights(64, 1024)
    plain, weighed = LLAMA_CPP[fmt.name]
    assert nmse(fmt.dequantize(fmt.quantize(x)), x) <= 1.02 * plain
    importance = np.random.default_rng(1).lognormal(0, 1.5, 1024).astype(np.float32)
    assert nmse(fmt.dequantize(fmt.quantize(x, importance)), x, importance) <= 1.02 * weighed


def test_a_mean_needs_no_search() -> None:
    with np.load(GOLDEN / "Q1_0.npz") as golden:
        assert np.array_equal(by_name("Q1_0").quantize(golden["x"]), golden["quantized"])


@pytest.mark.parametrize("name", ["Q1_0", "Q2_0", "TQ1_0", "TQ2_0"])
@pytest.mark.parametrize("weighed", [False, True])
def test_models_trained_for_few_values_stay_as_they_are(name: str, weighed: bool) -> None:
    fmt, rng = by_name(name), np.random.default_rng(3)
    scale = rng.lognormal(-3, 0.5, (40, 2, 1)).astype(np.float16).astype(np.float32)
    levels = (-1, 1) if name == "Q1_0" else (-1, 0, 1)
    x = (rng.choice(levels, (40, 2, 256)).astype(np.float32) * scale).reshape(40, 512)
    importance = rng.lognormal(0, 1.5, 512).astype(np.float32) if weighed else None
    assert np.array_equal(fmt.dequantize(fmt.quantize(x, importance)), x)


@every_coded
def test_quantizing_what_is_quantized_changes_little(fmt: Format) -> None:
    x = fmt.dequantize(fmt.quantize(weights(16, 512)))
    assert nmse(fmt.dequantize(fmt.quantize(x)), x) <= BOUNDS[fmt.name] / 3


@every_coded
def test_importance_is_obeyed(fmt: Format) -> None:
    x = weights(32, 1024)
    importance = np.random.default_rng(1).lognormal(0, 1.5, 1024).astype(np.float32)
    plain, weighed = fmt.dequantize(fmt.quantize(x)), fmt.dequantize(fmt.quantize(x, importance))
    better = 1.0 if fmt.name == "Q8_0" else 0.97
    assert nmse(weighed, x, importance) <= better * nmse(plain, x, importance)
    assert nmse(weighed, x) < (2.5 if fmt in CODEBOOKS else 1.5) * BOUNDS[fmt.name]
    nothing = fmt.dequantize(fmt.quantize(x, np.zeros(1024, np.float32)))
    assert nmse(nothing, x) <= BOUNDS[fmt.name]


@every_coded
def test_only_ratios_of_importance_matter(fmt: Format) -> None:
    x, importance = weights(8, 256), np.random.default_rng(1).lognormal(0, 1.5, 256).astype(np.float32)
    for scale in (2.0**-100, 2.0**100):
        assert np.array_equal(fmt.quantize(x, importance * np.float32(scale)), fmt.quantize(x, importance))


@every_coded
@pytest.mark.parametrize("scale", [1e-30, 1e-7, 1e-4, 1.0, 100.0, 60000.0])
def test_constants_ramps_and_zeros(fmt: Format, scale: float) -> None:
    ramp, least = np.linspace(-1, 1, 256), 1e-3 if fmt.name == "NVFP4" else 1e-6
    for x in (np.zeros(256), np.ones(256), -np.ones(256), ramp, np.abs(ramp), -np.abs(ramp), np.eye(256)[7]):
        big = shaped(fmt, x * min(scale, fmt.largest))
        y = fmt.dequantize(fmt.quantize(big))
        assert np.isfinite(y).all()
        # Half floats end at 6e-8, the scales of NVFP4 at 1e-3; a weight is off by a step of the codes at most.
        assert np.abs(y - big).max() <= scale * (1.0 if fmt.name in COARSE else 0.2) + least


@every_coded
def test_what_cannot_be_held_is_said(fmt: Format) -> None:
    for value in (np.nan, np.inf, -np.inf, 70000.0):
        x = weights(20, 256)
        x[17, 200] = value
        with pytest.raises(ModelError, match=rf"row 17, column 200 is {value}.*{fmt.name}"):
            fmt.quantize(x)
    with pytest.raises(ModelError, match=f"24 columns .*{fmt.name}"):
        fmt.quantize(weights(2, 24))


@every_format
def test_slices_do_not_show(fmt: Format) -> None:
    x = weights(600, 256)
    whole = fmt.quantize(x)
    assert np.array_equal(whole[:7], fmt.quantize(x[:7]))
    assert np.array_equal(whole[-5:], fmt.quantize(x[-5:]))
    assert fmt.quantize(x[:0]).shape == (0, fmt.row_bytes(256))
    assert np.array_equal(fmt.quantize(x[::2, :]), fmt.quantize(np.ascontiguousarray(x[::2])))
