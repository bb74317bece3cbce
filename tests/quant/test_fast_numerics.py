"""What the fast numerics cost in quality, and what costs nothing: threads and chunks. On the default model, over real text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgerun
from quant.divergence import Divergence

TEXT = Path(__file__).parents[1] / "golden" / "text" / "english.txt"
TOKENS = 2000

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def ids(smollm2: Path) -> list[int]:
    found = edgerun.load_tokenizer(smollm2).encode(TEXT.read_text(encoding="utf-8"))
    assert len(found) >= TOKENS
    return found[:TOKENS]


def test_fast_numerics_stay_close_to_float32(smollm2: Path, ids: list[int]) -> None:
    with edgerun.load(smollm2, context=TOKENS) as fast, edgerun.load(smollm2, context=TOKENS, numerics="exact", kv="f32") as exact:
        found = Divergence.between(exact.logits(ids), fast.logits(ids), ids)
    print(found)
    assert found.rows == TOKENS
    assert found.mean <= 0.003
    assert found.same_top >= 0.97
    assert found.perplexity_ratio == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("numerics", ["fast", "exact"])
def test_logits_are_the_same_bits_whatever_the_threads_and_chunks(smollm2: Path, ids: list[int], numerics: str) -> None:
    some = ids[:130]   # three pages, and no multiple of a chunk or a tile
    results = []
    for threads, chunk in ((1, 512), (2, 512), (2, 64), (1, 7), (2, 1)):
        with edgerun.load(smollm2, context=192, threads=threads, chunk=chunk, numerics=numerics) as llm:
            results.append(llm.logits(some))
    assert all(np.array_equal(result.view(np.uint32), results[0].view(np.uint32)) for result in results)


def test_tokens_are_the_same_whatever_the_threads_and_chunks(smollm2: Path, ids: list[int]) -> None:
    """Over a prompt longer than the largest chunk, and in what is made after it."""
    prompt = ids[:600]
    results = []
    for threads in (1, 2):
        for chunk in (1, 7, 64, 512):
            with edgerun.load(smollm2, context=640, threads=threads, chunk=chunk) as llm:
                for _ in llm.generate(prompt, max_tokens=16, temperature=0.8, seed=7):
                    pass
                results.append(llm.session.tokens)
    assert len(results[0]) == 615   # the last token is not evaluated any more
    assert all(result == results[0] for result in results)
