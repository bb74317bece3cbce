"""Products of inputs against their definition, and the files that are rounded by them."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edgerun.backends.reference.executor import ReferenceExecutor
from edgerun.blueprint import Options
from edgerun.errors import ModelError, UsageError
from edgerun.formats import by_id, by_name
from edgerun.gguf import GGUF, open_gguf
from edgerun.graph.ops import View
from edgerun.graph.taps import Tap
from quant.compensation import Compensation, _encoded
from quant.gptq import Feedback, round_to
from quant.gram import FIRST, ROWS, Gram, grams, inputs
from quant.plan import Choices, Plan
from quant.quantize import quantize
from quant.recipes import RECIPES
from quant.source import Source
from quant.windows import windows

MODELS = Path(__file__).parents[1] / "golden" / "oracle"
IDS = [int(i) for i in np.random.default_rng(5).integers(0, 280, 96)]
TRUTH = Options(backend="reference")


def compensation(file: GGUF, recipe: str = "Q4_0", most: int | None = None, **choices: object) -> Compensation:
    plan = Plan.of(file, RECIPES[recipe], Choices(pure=True, **choices), measured=True)   # type: ignore[arg-type]
    return Compensation(file, plan, windows(IDS, 32), threads=2, options=TRUTH, most=most)


def made(tmp_path: Path, model: str, name: str, recipe: str = "Q4_0", most: int | None = None) -> Path:
    with open_gguf(MODELS / model / "model.gguf") as file:
        by = compensation(file, recipe, most)
        quantize(file, Plan.of(file, RECIPES[recipe], Choices(pure=True), measured=True), tmp_path / name, encode=by.encode, threads=2)
    return tmp_path / name


def values(file: GGUF, name: str) -> np.ndarray:
    tensor = file.tensors[name]
    return by_id(tensor.type).dequantize(tensor.read()).reshape(tensor.shape)


def test_products_are_those_of_all_inputs() -> None:
    x = np.random.default_rng(1).standard_normal((2 * ROWS + 77, 5)).astype(np.float32)
    whole, squares_alone = Gram(5, True), Gram(5, False)
    for part in np.split(x, [3, 3, 500, 1000]):
        whole.add(part)
        squares_alone.add(part)
    np.testing.assert_allclose(whole.sums(), x.T @ x, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(squares_alone.sums(), (x**2).sum(0), rtol=1e-5)
    assert whole.sums() is whole.sums()


def test_every_input_counts_alike_but_those_of_first_tokens() -> None:
    with Source(MODELS / "llama" / "model.gguf", 32, 1, TRUTH) as source, ThreadPoolExecutor(2) as pool:
        x = values(source.file, "token_embd.weight")[IDS].astype(np.float64)
        x *= values(source.file, "blk.0.attn_norm.weight").reshape(-1)
        wanted = {(tap.weights[0], 0): i % 2 == 0 for i, tap in enumerate(source.taps)}
        found = {key: gram.sums() for key, gram in list(grams(source, windows(IDS, 32), wanted, pool))[-1].items()}
        for chunk in (1, 5):   # whatever the steps are
            source.session.chunk = chunk
            again = list(grams(source, windows(IDS, 32), wanted, pool))[-1]
            for key, sums in found.items():
                np.testing.assert_allclose(again[key].sums(), sums, rtol=1e-3, atol=1e-5 * np.abs(sums).max())
    x /= np.linalg.norm(x, axis=1, keepdims=True)   # the length that a norm gave it does not matter
    x[::32] *= FIRST
    np.testing.assert_allclose(found["blk.0.attn_q.weight", 0], x.T @ x, rtol=1e-3, atol=1e-4)
    for key, sums in found.items():
        assert sums.ndim == (2 if wanted[key] else 1)
        assert (np.trace(sums) if sums.ndim == 2 else sums.sum()) == pytest.approx(93 + 3 * FIRST**2, rel=1e-4)


def test_each_matrix_of_a_stack_has_inputs_of_its_own() -> None:
    rng = np.random.default_rng(3)
    each, one, choice = rng.standard_normal((5, 2, 4)), rng.standard_normal((5, 4)), np.array([[0, 2], [2, 3], [0, 3], [2, 0], [3, 2]], np.float32)
    views = {"each": each.reshape(5, 8), "one": one, "choice": choice}
    each, one = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (each, one))

    def of(name: str, shape: tuple[int, ...], chosen: bool, begins: bool = False) -> dict[int, np.ndarray]:
        tap = Tap(("w",), View(name, 0, views[name].shape[1]), View("choice", 0, 2) if chosen else None)
        return dict(inputs(tap, lambda view: views[view.buffer], shape, begins))

    by_expert = of("each", (4, 6, 4), chosen=True)
    assert sorted(by_expert) == [0, 2, 3]   # nobody chose the second
    np.testing.assert_allclose(by_expert[3], [each[1, 1], each[2, 1], each[4, 0]])
    np.testing.assert_allclose(of("one", (4, 6, 4), chosen=True)[0], one[[0, 2, 3]])
    np.testing.assert_allclose(of("one", (4, 6, 4), chosen=True, begins=True)[0], one[[0, 2, 3]] * [[FIRST], [1], [1]])
    np.testing.assert_allclose(of("each", (2, 6, 4), chosen=False)[1], each[:, 1])
    np.testing.assert_allclose(of("one", (6, 4), chosen=False)[0], one)


def test_inputs_of_no_length_stay_so() -> None:
    found = dict(inputs(Tap(("w",), View("x", 0, 4)), lambda view: np.zeros((3, 4), np.float32), (6, 4), True))
    assert not found[0].any()


def test_matrices_are_rounded_by_their_own_inputs(tmp_path: Path) -> None:
    out = made(tmp_path, "llama", "all.gguf")
    with open_gguf(MODELS / "llama" / "model.gguf") as old, open_gguf(out) as new, ThreadPoolExecutor(1) as pool:
        with Source(MODELS / "llama" / "model.gguf", 32, 1, TRUTH) as source:
            found = list(grams(source, windows(IDS, 32), {("blk.1.attn_q.weight", 0): True}, pool))[-1]
        h = found["blk.1.attn_q.weight", 0].sums()
        for name in ("blk.1.attn_q.weight", "blk.1.attn_v.weight"):   # which read the same
            expected = round_to(by_name("Q4_0"), values(old, name), Feedback.of(h))
            assert np.array_equal(new.tensors[name].read(), expected)
        embedding = by_name("Q4_0").quantize(values(old, "token_embd.weight"))
        assert np.array_equal(new.tensors["token_embd.weight"].read(), embedding)   # nothing is multiplied with it


def test_outputs_are_nearer_than_by_rounding_alone(tmp_path: Path) -> None:
    with open_gguf(MODELS / "llama" / "model.gguf") as old, open_gguf(made(tmp_path, "llama", "all.gguf")) as new, ThreadPoolExecutor(1) as pool:
        with Source(MODELS / "llama" / "model.gguf", 32, 1, TRUTH) as source:
            keys = {(tap.weights[0], 0): True for tap in source.taps}
            found = list(grams(source, windows(IDS, 32), keys, pool))[-1]
        for (name, _), gram in found.items():
            h, x = gram.sums().astype(np.float64), values(old, name)
            plain = by_name("Q4_0").dequantize(by_name("Q4_0").quantize(x, np.diag(h).astype(np.float32))) - x
            error = values(new, name) - x
            assert ((error @ h) * error).sum() < ((plain @ h) * plain).sum(), name


@pytest.mark.parametrize("model", ["llama", "llama-tied"])
def test_little_memory_takes_more_passes_and_makes_the_same_file(tmp_path: Path, model: str) -> None:
    with open_gguf(MODELS / model / "model.gguf") as file:
        most = max(Gram.nbytes(tensor.shape[-1], True) for tensor in file.tensors.values() if len(tensor.shape) > 1)
        assert (compensation(file).passes, compensation(file, most=most).passes > 3) == (1, True)
    one, other = made(tmp_path, model, "one.gguf"), made(tmp_path, model, "other.gguf", most=most)
    assert one.read_bytes() == other.read_bytes()


def test_types_that_do_not_take_it_go_by_squares(tmp_path: Path) -> None:
    with open_gguf(MODELS / "llama" / "model.gguf") as file, ThreadPoolExecutor(1) as pool:
        plan = Plan.of(file, RECIPES["Q8_0"], Choices(pure=True))
        row = next(row for row in plan.rows if row.tensor.name == "blk.0.attn_q.weight")
        row = type(row)(row.tensor, "Q4_0")
        by = Compensation(file, Plan(plan.recipe, (row,)), windows(IDS, 32), options=TRUTH, most=1)   # no room for products
        assert by.by_squares == ["blk.0.attn_q.weight"]
        got = by.encode(row, pool)
        with Source(MODELS / "llama" / "model.gguf", 32, 1, TRUTH) as source:
            sums = list(grams(source, windows(IDS, 32), {(row.tensor.name, 0): False}, pool))[-1][row.tensor.name, 0].sums()
        assert got is not None
        assert np.array_equal(got, by_name("Q4_0").quantize(values(file, row.tensor.name), sums))


def test_codebooks_beside_others_go_by_squares(tmp_path: Path) -> None:
    with open_gguf(MODELS / "llama" / "model.gguf") as file:
        by = compensation(file, "Q4_0", overrides=((re.compile("attn_v"), "Q8_0"),))
        assert by.by_squares == []
        for _ in by.measure():
            pass
        row = next(row for row in Plan.of(file, RECIPES["Q4_0"], Choices(pure=True)).rows if row.tensor.name == "blk.0.attn_q.weight")
        with ThreadPoolExecutor(1) as pool:
            assert by.encode(row, pool) is not None
            feedback = by._known("blk.0.attn_q.weight", 0)
            assert isinstance(feedback, Feedback)
            x = np.resize(values(file, "blk.0.attn_q.weight"), (2, 256)).astype(np.float32)
            importance = np.resize(feedback.squares, 256)
            wide = Feedback(np.zeros((256, 256), np.float32), importance, importance)
            assert np.array_equal(_encoded(by_name("IQ3_S"), x, wide), by_name("IQ3_S").quantize(x, importance))


def test_nothing_to_do_is_said() -> None:
    with open_gguf(MODELS / "llama" / "model.gguf") as file, pytest.raises(UsageError, match="nothing to calibrate"):
        compensation(file, "F32")


def test_inputs_that_are_no_numbers_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = ReferenceExecutor.read

    def broken(self: ReferenceExecutor, view: View) -> np.ndarray:
        x = np.array(read(self, view))
        x[0] = np.nan
        return x

    monkeypatch.setattr(ReferenceExecutor, "read", broken)
    with pytest.raises(ModelError, match=r"tensor 'output.weight': .*not finite"):
        made(tmp_path, "llama", "x.gguf")
    assert not list(tmp_path.iterdir())
