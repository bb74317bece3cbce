"""Weights to bytes: equal to llama.cpp's where that is simple rounding, no worse where it is a search."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from format_cases import CODEBOOKS, every_written, every_written_coded, nmse, weights
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerun.errors import ModelError, Unsupported
from edgerun.formats import Format, by_name

GOLDEN = Path(__file__).parents[1] / "golden" / "formats"
SIMPLE = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
COARSE = ("Q2_K", "Q3_K", "Q2_0", "TQ2_0", "TQ1_0", "Q1_0")   # may be off by as much as a weight is large
BOUNDS = {
    "F32": 0, "F16": 1e-7, "BF16": 4e-6, "Q8_0": 5e-5, "Q6_K": 5e-4, "Q5_K": 2e-3, "Q5_1": 2.2e-3, "Q5_0": 2.8e-3, "Q4_K": 8e-3,
    "Q4_1": 9.5e-3, "Q4_0": 1.1e-2, "IQ4_NL": 8e-3, "IQ4_XS": 8.5e-3, "Q3_K": 3e-2, "Q2_K": 0.1,
    "NVFP4": 7.7e-3, "MXFP4": 1.55e-2, "Q2_0": 0.18, "TQ2_0": 0.3, "TQ1_0": 0.3, "Q1_0": 0.46,
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


@every_written
def test_error_bounds(fmt: Format) -> None:
    x = weights(64, 1024)
    assert nmse(fmt.dequantize(fmt.quantize(x)), x) <= BOUNDS[fmt.name]


@pytest.mark.parametrize("name", ["Q1_0", "Q2_0", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4"])
def test_no_worse_than_llama_cpp(name: str) -> None:
    with np.load(GOLDEN / f"{name}.npz") as golden:
        x, importance, theirs = golden["x"], golden["importance"], golden["quantized"]
    fmt = by_name(name)
    other = fmt.dequantize(theirs)
    assert nmse(fmt.dequantize(fmt.quantize(x)), x) <= 1.02 * nmse(other, x)
    assert nmse(fmt.dequantize(fmt.quantize(x, importance)), x, importance) <= 1.02 * nmse(other, x, importance)
    if name == "Q1_0":
        assert np.array_equal(fmt.quantize(x), theirs), "a mean needs no search"


@pytest.mark.parametrize("name", ["Q1_0", "Q2_0", "TQ1_0", "TQ2_0"])
@pytest.mark.parametrize("weighed", [False, True])
def test_models_trained_for_few_values_stay_as_they_are(name: str, weighed: bool) -> None:
    fmt, rng = by_name(name), np.random.default_rng(3)
    scale = rng.lognormal(-3, 0.5, (40, 2, 1)).astype(np.float16).astype(np.float32)
    levels = (-1, 1) if name == "Q1_0" else (-1, 0, 1)
    x = (rng.choice(levels, (40, 2, 256)).astype(np.float32) * scale).reshape(40, 512)
    importance = rng.lognormal(0, 1.5, 512).astype(np.float32) if weighed else None
    assert np.array_equal(fmt.dequantize(fmt.quantize(x, importance)), x)


@every_written_coded
def test_quantizing_what_is_quantized_changes_little(fmt: Format) -> None:
    x = fmt.dequantize(fmt.quantize(weights(16, 512)))
    assert nmse(fmt.dequantize(fmt.quantize(x)), x) <= BOUNDS[fmt.name] / 3


@every_written_coded
def test_importance_is_obeyed(fmt: Format) -> None:
    x = weights(32, 1024)
    importance = np.random.default_rng(1).lognormal(0, 1.5, 1024).astype(np.float32)
    plain, weighed = fmt.dequantize(fmt.quantize(x)), fmt.dequantize(fmt.quantize(x, importance))
    better = 1.0 if fmt.name == "Q8_0" else 0.97
    assert nmse(weighed, x, importance) <= better * nmse(plain, x, importance)
    assert nmse(weighed, x) < 1.5 * BOUNDS[fmt.name]
    nothing = fmt.dequantize(fmt.quantize(x, np.zeros(1024, np.float32)))
    assert nmse(nothing, x) <= BOUNDS[fmt.name]


@every_written_coded
@pytest.mark.parametrize("scale", [1e-30, 1e-7, 1e-4, 1.0, 100.0, 60000.0])
def test_constants_ramps_and_zeros(fmt: Format, scale: float) -> None:
    ramp, least = np.linspace(-1, 1, 256), 1e-3 if fmt.name == "NVFP4" else 1e-6
    for x in (np.zeros(256), np.ones(256), -np.ones(256), ramp, np.abs(ramp), -np.abs(ramp), np.eye(256)[7]):
        big = shaped(fmt, x * min(scale, fmt.largest))
        y = fmt.dequantize(fmt.quantize(big))
        assert np.isfinite(y).all()
        # Half floats end at 6e-8, the scales of NVFP4 at 1e-3; a weight is off by a step of the codes at most.
        assert np.abs(y - big).max() <= scale * (1.0 if fmt.name in COARSE else 0.2) + least


@every_written_coded
def test_what_cannot_be_held_is_said(fmt: Format) -> None:
    for value in (np.nan, np.inf, -np.inf, 70000.0):
        x = weights(20, 256)
        x[17, 200] = value
        with pytest.raises(ModelError, match=rf"row 17, column 200 is {value}.*{fmt.name}"):
            fmt.quantize(x)
    with pytest.raises(ModelError, match=f"24 columns .*{fmt.name}"):
        fmt.quantize(weights(2, 24))


@every_written
def test_slices_do_not_show(fmt: Format) -> None:
    x = weights(600, 256)
    whole = fmt.quantize(x)
    assert np.array_equal(whole[:7], fmt.quantize(x[:7]))
    assert np.array_equal(whole[-5:], fmt.quantize(x[-5:]))
    assert fmt.quantize(x[:0]).shape == (0, fmt.row_bytes(256))
    assert np.array_equal(fmt.quantize(x[::2, :]), fmt.quantize(np.ascontiguousarray(x[::2])))


@pytest.mark.parametrize("fmt", [f for f in CODEBOOKS if not f.encode], ids=lambda f: f.name)
def test_what_is_only_read_is_said(fmt: Format) -> None:
    with pytest.raises(Unsupported, match=f"{fmt.name} .*IQ4_XS"):
        fmt.quantize(weights(2, 256))
