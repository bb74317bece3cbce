"""Sums of squares of what matrices are multiplied with, against their definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgerun.blueprint import Options
from edgerun.errors import ModelError, UsageError
from edgerun.gguf import GGUF
from quant.importance import Importance, write
from quant.source import Source
from quant.squares import Squares, squares
from quant.statistics import statistics
from quant.windows import windows

MODELS = Path(__file__).parents[1] / "golden" / "oracle"
IDS = [int(i) for i in np.random.default_rng(5).integers(0, 280, 96)]
TRUTH = Options(backend="reference")


def measured(options: Options, name: str = "llama", most: int | None = None) -> Squares:
    with Source(MODELS / name / "model.gguf", 32, 1, options) as source:
        return list(squares(source, windows(IDS, 32, most=most)))[-1]


def values(file: GGUF, name: str) -> np.ndarray:
    return file.tensors[name].read().view(np.float32).reshape(file.tensors[name].shape).astype(np.float64)


def test_of_the_first_layer_by_hand() -> None:
    found = measured(TRUTH)
    with Source(MODELS / "llama" / "model.gguf", 32, 1, TRUTH) as source:
        x = values(source.file, "token_embd.weight")[IDS]
        eps = source.file.metadata["llama.attention.layer_norm_rms_epsilon"]
        h = x / np.sqrt((x**2).mean(1, keepdims=True) + eps) * values(source.file, "blk.0.attn_norm.weight")
        matrices = {name for name, tensor in source.file.tensors.items() if len(tensor.shape) == 2}
    for name in ("attn_q", "attn_k", "attn_v"):
        sums, counts = found.of[f"blk.0.{name}.weight"]
        np.testing.assert_allclose(sums, (h**2).sum(0)[None], rtol=1e-6)
        assert counts.tolist() == [96]
    assert set(found.of) == matrices - {"token_embd.weight"}
    assert found.of["output.weight"][1].tolist() == [96]   # every token counts there too


@pytest.mark.parametrize("name", ["llama", "gemma3", "qwen3"])
def test_kernels_measure_as_the_reference(name: str) -> None:
    truth, exact, fast = (measured(options, name) for options in (TRUTH, Options(numerics="exact", kv="f32"), Options()))
    for matrix, (sums, counts) in truth.of.items():
        np.testing.assert_allclose(exact.of[matrix][0], sums, rtol=1e-3, atol=1e-5 * sums.max())
        assert fast.of[matrix][0].sum() == pytest.approx(sums.sum(), rel=0.01)
        assert np.array_equal(exact.of[matrix][1], counts)


def test_windows_are_measured_by_themselves() -> None:
    both, first = measured(TRUTH), measured(TRUTH, most=1)
    with Source(MODELS / "llama" / "model.gguf", 32, 1, TRUTH) as source:
        rest = list(squares(source, windows([*IDS[32:], *IDS[32:]], 32, most=2)))[-1]
    for name, (sums, _) in both.of.items():
        np.testing.assert_allclose(sums, first.of[name][0] + rest.of[name][0], rtol=1e-9)


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(ModelError, match="'a' is multiplied with is not finite"):
        Squares().add(["a"], np.array([[1.0, np.inf]]), np.ones(1))


def test_an_encoder_is_refused(tmp_path: Path) -> None:
    with Source(MODELS / "llama" / "model.gguf", 32, 1, TRUTH) as source:
        source.session.writes = False
        with pytest.raises(UsageError, match="reads texts and writes none"):
            next(squares(source, windows(IDS, 32)))


def test_the_file_holds_what_was_measured(tmp_path: Path) -> None:
    found = measured(TRUTH)
    write(tmp_path / "i.gguf", found.of, "text.txt", 3, 32)
    read, made = Importance.read(tmp_path / "i.gguf"), Importance.of_sums(found.of)
    assert list(read) == list(made) == list(found.of)
    for name in read:
        np.testing.assert_allclose(read[name], made[name], rtol=1e-6)
        np.testing.assert_allclose(read[name], found.of[name][0] / 96, rtol=1e-6)


def test_statistics() -> None:
    even, one = np.full((1, 200), 2.0, np.float32), np.zeros((2, 50), np.float32)
    one[0, 7] = 200
    first, second = statistics(Importance({"even": even, "one": one}))
    assert (first.columns, first.total, first.share, first.evenness, first.top) == (200, 400.0, 0.8, pytest.approx(1.0), pytest.approx(0.01))
    assert (second.total, second.evenness, second.top, second.largest) == (100.0, 0.0, 1.0, 7)
    assert next(statistics(Importance({"none": np.zeros((1, 4), np.float32)}))).total == 0
