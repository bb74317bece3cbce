"""Perplexity and comparison against their definitions, over a tiny model."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import edgerun
from quant.divergence import Divergence, compare
from quant.perplexity import Mean, Perplexity, perplexity
from quant.windows import windows

MODELS = Path(__file__).parents[1] / "golden" / "oracle"
IDS = [int(i) for i in np.random.default_rng(5).integers(0, 280, 90)]


def test_perplexity_is_the_exponential_of_the_mean() -> None:
    found = Perplexity.of([1.0, 2.0, 4.0])
    assert found.value == pytest.approx(math.exp(7 / 3))
    assert found.error == pytest.approx(found.value * np.std([1, 2, 4], ddof=1) / math.sqrt(3))
    assert Perplexity.of([2.0]).error == math.inf
    assert Perplexity.of([1e9]).value < math.inf


def test_a_mean_of_infinite_numbers_is_infinite() -> None:
    assert Mean.of([1.0, math.inf]).value == math.inf


def test_over_windows_of_a_model() -> None:
    cut = windows(IDS, 32, bos=0)
    with edgerun.load(MODELS / "qwen2" / "model.gguf", numerics="exact", kv="f32", threads=1) as llm:
        found = list(perplexity(llm.session, cut))
        rows = [llm.logits(w.tokens).astype(np.float64) for w in cut]
    surprises = []
    for w, logits in zip(cut, rows, strict=True):
        for at in range(16, 31):
            row = logits[at] - logits[at].max()
            surprises.append(math.log(np.exp(row).sum()) - row[w.tokens[at + 1]])
    assert [p.tokens for p in found] == [15, 30]
    assert found[-1].value == pytest.approx(math.exp(np.mean(surprises)), rel=1e-9)


def test_models_are_compared_window_by_window() -> None:
    cut = windows(IDS, 24, stride=10)
    with (
        edgerun.load(MODELS / "llama" / "model.gguf", numerics="exact", kv="f32", threads=1) as reference,
        edgerun.load(MODELS / "llama" / "model.gguf", kv="q4_0", threads=1) as model,
    ):
        steps = [positions.divergence() for positions in compare(reference.session, model.session, cut)]
        whole = Divergence.between(reference.logits(cut[0].tokens)[cut[0].first :], model.logits(cut[0].tokens)[cut[0].first :], cut[0].tokens[cut[0].first :])
    assert [d.rows for d in steps] == [10 * (i + 1) for i in range(len(cut))]
    assert 0 < steps[-1].mean < 0.2
    assert steps[0].perplexity_ratio == pytest.approx(whole.perplexity_ratio)
