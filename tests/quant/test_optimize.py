"""Types by measurement: what errors do, how large they are, and the file that comes of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from edgerun.blueprint import Options
from edgerun.errors import UsageError
from edgerun.formats import by_name
from edgerun.gguf import GGUF, open_gguf
from quant.calibration import Calibration, default_text
from quant.importance import Importance
from quant.light import lightened
from quant.optimize import Budget, Optimum, asked, matrices, optimal, options, refuse_impossible
from quant.plan import Choices
from quant.quantize import quantize
from quant.rounding import Noisy, Sample
from quant.sensitivity import Expected, completed, factors
from quant.source import Source

MODEL = Path(__file__).parents[1] / "golden" / "oracle" / "llama" / "model.gguf"
IDS = [int(i) for i in np.random.default_rng(5).integers(0, 280, 400)]
EVEN = Importance({})
NONE = Choices()


def test_noise_and_its_error() -> None:
    with open_gguf(MODEL) as file:
        tensor = file.tensors["blk.0.ffn_up.weight"]
        x = tensor.read().view(np.float32)
        weights = np.linspace(0, 1, x.shape[1], dtype=np.float32)[None]
        noisy = Noisy(tensor, weights, 1 / 16)
        delta = noisy.read().view(np.float32).astype(np.float64) - x
    assert noisy.error == pytest.approx((delta**2 * weights).sum(), rel=1e-4)
    assert np.sqrt((delta**2).mean() / (x.astype(np.float64) ** 2).mean()) == pytest.approx(1 / 16, rel=0.05)


def test_a_sample_tells_the_error_of_all() -> None:
    with open_gguf(MODEL) as file:
        tensor = file.tensors["token_embd.weight"]
        x, target = tensor.read().view(np.float32), by_name("Q4_0")
        whole = np.square(target.dequantize(target.quantize(x)) - x, dtype=np.float64).sum()
        assert Sample(tensor, None).error(target) == pytest.approx(whole, rel=0.1)


def test_the_divergence_is_that_of_the_definition() -> None:
    random = np.random.default_rng(1)
    p, q = random.standard_normal((2, 50)).astype(np.float32)
    a, b = (np.exp(x.astype(np.float64)) / np.exp(x.astype(np.float64)).sum() for x in (p, q))
    expected = Expected.of(p)
    assert expected.divergence(q) == pytest.approx((a * np.log(a / b)).sum(), rel=1e-6)
    assert expected.divergence(p) == 0
    assert expected.divergence(p + np.float32(1)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_factors_foretell_the_divergence(backend: str) -> None:
    with Source(MODEL, 64, 1, Options(backend, "exact" if backend == "cpu" else "fast", "f32")) as source:
        before = next(source.session.logits(IDS[:32])).copy()
        found = factors(source, matrices(source.file), EVEN, IDS)
        source.session.rewind()
        assert np.array_equal(next(source.session.logits(IDS[:32])), before)   # the weights are what they were
        assert set(found) == set(matrices(source.file))
        assert all(factor > 0 for factor in found.values())
        name = "blk.1.ffn_down.weight"
        noisy = Noisy(source.file.tensors[name], None, 1 / 64)   # a smaller error, so a smaller divergence in proportion
        source.session.rewind()
        truth = [Expected.of(row) for rows in source.session.logits(IDS[:64]) for row in rows.copy()]
        source.session.executor.replace([noisy])
        source.session.rewind()
        lost = np.mean([e.divergence(row) for e, row in zip(truth, (row for rows in source.session.logits(IDS[:64]) for row in rows), strict=True)])
        assert lost == pytest.approx(found[name] * noisy.error, rel=0.6)


def test_what_the_text_did_not_reach_counts_as_others_do() -> None:
    assert completed({"a": 1.0, "b": 0.0, "c": 3.0, "d": 2.0}) == {"a": 1.0, "b": 2.0, "c": 3.0, "d": 2.0}
    assert completed({"a": 0.0}) == {"a": 0.0}


def best(file: GGUF, budget: Budget, choices: Choices = NONE) -> Optimum:
    """The best plan where the same error does the same harm in all matrices."""
    decided, equal = asked(file, choices), dict.fromkeys(matrices(file), 1.0)
    return optimal(file, budget, options(file, budget, decided, EVEN, equal, 1), decided)


def test_the_budget_is_kept_and_used(tmp_path: Path) -> None:
    with open_gguf(MODEL) as file:
        least = {}
        for bits in (5.0, 6.0, 9.0):
            found = best(file, Budget(bits=bits))
            least[bits] = found.expected
            assert bits - 0.5 < found.plan.bits_per_weight <= bits
            assert found.plan.recipe.name == f"{found.plan.bits_per_weight:.2f}bpw"
        assert least[5.0] > least[6.0] > least[9.0] > 0
        found = best(file, Budget(nbytes=80_000), Choices(output="Q8_0"))
        quantize(file, found.plan, tmp_path / "out.gguf")
        assert 70_000 < (tmp_path / "out.gguf").stat().st_size <= 80_000
        assert next(row.type for row in found.plan.rows if row.tensor.name == "output.weight") == "Q8_0"
        found = best(file, Budget(loss=least[6.0]))
        assert found.expected <= least[6.0]
        assert found.plan.bits_per_weight < 6.3


def test_a_budget_that_nothing_is_within_is_refused_before_anything_is_measured() -> None:
    with open_gguf(MODEL) as file:
        refuse_impossible(file, Budget(bits=6.0), {})
        refuse_impossible(file, Budget(loss=1e-9), {})
        with pytest.raises(UsageError, match="the smallest types that make sense take"):
            refuse_impossible(file, Budget(bits=0.5), {})
        with pytest.raises(UsageError, match="the smallest types that make sense take"):
            refuse_impossible(file, Budget(bits=6.0), asked(file, Choices(overrides=((re.compile("."), "F16"),))))


def test_types_that_were_asked_for_fall_back_as_in_a_recipe() -> None:
    choices = ((re.compile("attn_k"), "Q4_K"),)   # its rows have 32 weights
    with open_gguf(MODEL) as file:
        row = next(row for row in best(file, Budget(bits=6.0), Choices(overrides=choices)).plan.rows if row.tensor.name == "blk.0.attn_k.weight")
        assert (row.type, row.instead_of) == ("Q5_0", "Q4_K")
        with pytest.raises(UsageError, match="do not fill the blocks"):
            asked(file, Choices(overrides=choices, fallback=False))


def test_a_light_tensor_is_the_q8_0_of_another() -> None:
    with open_gguf(MODEL) as file:
        light = lightened(file.tensors)
        name = "blk.0.ffn_up.weight"
        x = file.tensors[name].read().view(np.float32)
        assert light[name].type_name == "Q8_0"
        assert np.array_equal(light[name].read(3, 9), by_name("Q8_0").quantize(x)[3:9])
        assert light[name].read().nbytes == light[name].nbytes
        assert light["output_norm.weight"] is file.tensors["output_norm.weight"]


def test_the_text_is_parted() -> None:
    ids = np.random.default_rng(6).integers(0, 280, 24_000).tolist()
    found = Calibration.of(ids, None)
    assert (len(found.used), len(found.held)) == (24, 4)
    assert not {id(w) for w in found.used} & {id(w) for w in found.held}
    assert found.used[0].tokens[:9] == ids[:9]   # windows are from all over the text
    assert found.held[-1].tokens == ids[45 * 512 : 46 * 512]
    short = Calibration.of(IDS, 1)
    assert len(short.held[0].tokens) == 64
    assert len(short.ids) == sum(len(w.tokens) for w in short.used)
    assert not [w for w in short.used if w in short.held]
    assert len(Calibration.of(IDS[:150], 1).used) == 1
    assert len(default_text()) > 100_000
