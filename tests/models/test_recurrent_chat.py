"""A session over recurrent models answers like a fresh one, whatever was in memory before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from oracle_case import load

from edgerun.backends import cpu
from edgerun.backends.executor import Executor
from edgerun.engine.session import Session
from edgerun.graph.lower import lower

TOKENS = np.random.default_rng(7).integers(0, 96, 200).tolist()


@pytest.fixture(scope="module", params=["mamba2", "lfm2", "falcon-h1", "qwen35"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    case = load(request.param)
    executor = cpu.compile(lower(case.spec(), case.shapes), case.tensors, pages=4, max_rows=64)
    yield executor
    executor.close()


def greedy(logits: np.ndarray, position: int, tokens: object) -> int:
    return int(logits.argmax())


def answer(session: Session, prompt: list[int]) -> list[int]:
    return list(session.generate(prompt, greedy, 12))


def test_a_chat_that_drops_reasoning_answers_like_a_fresh_one(executor: Executor) -> None:
    session = Session(executor, 256)
    first = TOKENS[:60]
    said = answer(session, first)
    second = [*first[:-2], *said[8:], *TOKENS[100:130]]   # the opening of the answer and its first tokens are gone
    got = answer(session, second)
    assert session.stats.cached_tokens == 60 - 16
    third = [*second, *got, *TOKENS[130:150]]
    more = answer(session, third)
    assert session.stats.cached_tokens == len(second) + len(got) - 1
    assert [said, got, more] == [answer(Session(executor, 256, chunk), prompt) for chunk, prompt in ((7, first), (None, second), (1, third))]
