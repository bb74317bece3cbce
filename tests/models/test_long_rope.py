"""LongRoPE through the engine: what is generated beyond the horizon is what the model says of the whole text."""

import importlib

import numpy as np
import pytest
from oracle_case import load

from edgerun.engine.session import Session
from edgerun.graph.lower import lower

CASE = load("phi3-longrope")
HORIZON = 64


@pytest.fixture(params=["reference", "cpu"])
def session(request):
    options = {"threads": 1, "numerics": "exact", "kv": "f32"} if request.param == "cpu" else {}
    backend = importlib.import_module(f"edgerun.backends.{request.param}")
    executor = backend.compile(lower(CASE.spec(), CASE.shapes), CASE.tensors, pages=3, max_rows=64, **options)
    assert executor.horizons == (HORIZON,)
    yield Session(executor, 192)
    executor.close()


def logits(session: Session, tokens: list[int]) -> np.ndarray:
    return np.concatenate([part.copy() for part in session.logits(tokens)])


def test_golden_logits_through_the_session(session: Session) -> None:
    for tokens, positions, golden in CASE.sequences:
        assert ((logits(session, tokens.tolist())[positions] - golden) ** 2).sum() / (golden**2).sum() < 1e-9


def test_an_answer_that_crosses_the_horizon(session: Session) -> None:
    prompt = CASE.sequences[-1][0][: HORIZON - 3].tolist()
    answer = list(session.generate(prompt, lambda logits, *_: int(logits.argmax()), 8))
    for i, token in enumerate(answer):
        assert logits(session, prompt + answer[:i])[-1].argmax() == token
