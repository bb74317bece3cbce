from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest
from fake_executor import FakeExecutor, RecurrentExecutor, RingExecutor, expected, greedy, truth
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerun.engine.session import Session
from edgerun.errors import ResourceError, UsageError

PROMPT = [(7 * i) % 50 for i in range(150)]
tokens = st.lists(st.integers(0, 49), min_size=1, max_size=200)


def new(chunk: int | None = None, pages: int = 8, **executor: Any) -> Session:
    return Session(FakeExecutor(pages, **executor), pages * 64, chunk)


def check(session: Session) -> None:
    """What is in memory is what the session says, and no page is lost or held twice."""
    sequence, pool = session.sequence, session.pool
    assert sequence.done <= len(sequence.tokens)
    pool.recount([sequence.pages])
    assert max(pool.references, default=0) <= 1
    if sequence.done:
        table = np.array(sequence.pages)
        held = session.executor.memory[table].reshape(-1, 2)[: sequence.done]
        assert held[:, 0].tolist() == session.tokens


def test_generates_what_the_executor_says() -> None:
    session = new()
    assert list(session.generate(PROMPT, greedy, 20)) == expected(PROMPT, 20)
    assert session.stats.finish_reason == "length"
    assert not session.stats.context_full
    assert session.tokens == PROMPT + expected(PROMPT, 19)   # nothing came after the last one, so it was not evaluated


@settings(max_examples=40, deadline=None)
@given(tokens, st.one_of(st.none(), st.integers(1, 300)), st.integers(1, 70))
def test_the_chunk_changes_nothing(prompt: list[int], chunk: int | None, max_rows: int) -> None:
    session = new(chunk, max_rows=max_rows)
    assert list(session.generate(prompt, greedy, 5)) == expected(prompt, 5)
    assert max(session.executor.steps) <= min(chunk or max_rows, max_rows)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(tokens, st.integers(0, 8), st.integers(0, 12)), min_size=1, max_size=6))
def test_what_is_in_memory_changes_nothing(turns: list[tuple[list[int], int, int]]) -> None:
    session, last = new(), list[int]()
    for fresh, keep, read in turns:
        prompt = last[: len(last) * keep // 8] + fresh
        stream = session.generate(prompt, greedy)
        answer = [next(stream) for _ in range(read)]
        stream.close()
        assert answer == expected(prompt, read)
        check(session)
        last = (prompt + answer)[:250]


def test_a_common_prefix_is_not_evaluated_again() -> None:
    session = new(chunk=512, max_rows=512)
    list(session.generate(PROMPT, greedy, 1))
    list(session.generate([*PROMPT[:100], 1, 2, 3], greedy, 1))
    assert session.executor.steps == [150, 3]
    assert session.stats.cached_tokens == 100


def test_at_least_one_token_is_evaluated() -> None:
    session = new(chunk=512, max_rows=512)
    first = list(session.generate(PROMPT, greedy, 3))
    assert list(session.generate(PROMPT, greedy, 3)) == first
    assert session.executor.steps == [150, 1, 1, 1, 1, 1]
    assert list(session.generate(PROMPT[:40], greedy, 3)) == expected(PROMPT[:40], 3)


def test_ends_at_an_end_token_without_giving_it() -> None:
    answer = expected(PROMPT, 10)
    session = new()
    end = next(i for i in range(1, 10) if answer[i] not in answer[:i])
    assert list(session.generate(PROMPT, greedy, 10, eog={answer[end]})) == answer[:end]
    assert session.stats.finish_reason == "stop"
    assert session.stats.generated_tokens == end


def test_a_full_context_is_a_clear_end() -> None:
    session = new(pages=3)
    assert len(list(session.generate(PROMPT, greedy))) == 3 * 64 - 150 + 1
    assert (session.stats.finish_reason, session.stats.context_full) == ("length", True)


def test_a_prompt_may_fill_the_context() -> None:
    session = Session(FakeExecutor(3), context=150)
    assert list(session.generate(PROMPT, greedy)) == expected(PROMPT, 1)
    assert session.stats.context_full


@pytest.mark.parametrize(
    ("prompt", "message"),
    [([1] * 129, r"the prompt has 129 tokens, the context 128; use -c 129"), ([], "empty"), ([1, 50], "token id 50"), ([-1], "token id -1")],
)
def test_bad_prompts_are_refused_at_once(prompt: list[int], message: str) -> None:
    session = new(pages=2)
    with pytest.raises(UsageError, match=message):
        session.generate(prompt, greedy)
    assert session.executor.steps == []


def test_max_tokens() -> None:
    session = new()
    assert list(session.generate(PROMPT, greedy, 0)) == []
    assert session.stats.finish_reason == "length"
    with pytest.raises(UsageError, match="negative"):
        session.generate(PROMPT, greedy, -1)


def test_progress_is_told_before_the_first_and_after_every_chunk() -> None:
    session, seen = new(chunk=64), list[tuple[int, int]]()
    list(session.generate(PROMPT, greedy, 2, on_progress=lambda done, total: seen.append((done, total))))
    assert seen == [(0, 150), (64, 150), (128, 150), (150, 150)]
    seen.clear()
    list(session.generate(PROMPT, greedy, 1, on_progress=lambda done, total: seen.append((done, total))))
    assert seen == [(149, 150), (150, 150)]


def test_stats_of_an_answer() -> None:
    session = new()
    list(session.generate(PROMPT, greedy, 4))
    stats = session.stats
    assert (stats.prompt_tokens, stats.cached_tokens, stats.generated_tokens, len(stats.token_seconds)) == (150, 0, 4, 3)
    assert 0 < stats.prefill_seconds <= stats.ttft_seconds
    assert stats.peak_rss > 0


def test_closing_an_answer_cancels_it() -> None:
    session = new()
    stream = session.generate(PROMPT, greedy)
    next(stream)
    stream.close()
    assert session.stats.finish_reason == "cancelled"


@pytest.mark.parametrize("other", [lambda s: next(s.generate([1, 2], greedy)), lambda s: s.rewind(3), lambda s: next(s.logits([1]))])
def test_an_answer_ends_when_its_session_does_something_else(other: Callable[[Session], Any]) -> None:
    session = new()
    stream = session.generate(PROMPT, greedy)
    next(stream)
    other(session)
    with pytest.raises(UsageError, match="begun another"):
        next(stream)
    assert list(session.generate(PROMPT, greedy, 3)) == expected(PROMPT, 3)


def test_rewind_forgets() -> None:
    session = new()
    list(session.generate(PROMPT, greedy, 1))
    session.rewind(70)
    assert session.tokens == PROMPT[:70]
    assert len(session.sequence.pages) == 2
    session.rewind(90)   # there is nothing to forget there
    assert session.tokens == PROMPT[:70]
    session.rewind()
    assert session.tokens == []
    assert session.pool.references == [0] * 8


@pytest.mark.parametrize("row", [0, 1, 7, 64, 149, 150, 152])
def test_ctrl_c_within_a_step(row: int) -> None:
    session = new()
    session.executor.interrupt_at = row
    with pytest.raises(KeyboardInterrupt):
        list(session.generate(PROMPT, greedy, 5))
    assert session.stats.finish_reason == "cancelled"
    check(session)
    other = [*PROMPT[:row], 3, 4]
    assert list(session.generate(other, greedy, 5)) == expected(other, 5)
    check(session)


class Interrupt:
    """Raise KeyboardInterrupt at the n-th line that runs inside the engine."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self, frame: FrameType, event: str, argument: object) -> Interrupt | None:
        if "/edgerun/engine/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self


def test_ctrl_c_at_every_line() -> None:
    first, second = PROMPT[:70], [*PROMPT[:66], 9, 9, 9]
    lines, finished, tracer = 0, False, sys.gettrace()
    while not finished:
        lines += 1
        session = new(chunk=40)
        list(session.generate([5, *PROMPT[:130]], greedy, 1))   # so that the next prompt gives pages back and takes them again
        sys.settrace(Interrupt(lines))
        try:
            list(session.generate(first, greedy, 3))
            finished = True
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(tracer)
        assert list(session.generate(second, greedy, 2)) == SECOND
        check(session)
    assert lines > 200


SECOND = expected([*PROMPT[:66], 9, 9, 9], 2)


@settings(max_examples=20, deadline=None)
@given(tokens, st.one_of(st.none(), st.integers(1, 90)))
def test_logits_of_every_position(ids: list[int], chunk: int | None) -> None:
    session = new(chunk)
    list(session.generate(PROMPT, greedy, 2))
    rows = np.concatenate(list(session.logits(ids)))
    assert rows.shape == (len(ids), 50)
    for i in {0, len(ids) // 2, len(ids) - 1}:
        assert (rows[i] == truth(ids[: i + 1], 50)).all()


def test_logits_are_asked_for_in_bounded_pieces() -> None:
    session = new(chunk=512, n_vocab=2_000_000, max_rows=512)
    session.executor.read = lambda table, position: np.zeros(1, np.float32)   # type: ignore[method-assign]
    list(session.logits(PROMPT))
    assert max(session.executor.steps) == (64 << 20) // 8_000_000


def test_logits_of_nothing() -> None:
    assert list(new().logits([])) == []


def test_a_pool_too_small_says_so() -> None:
    session = Session(FakeExecutor(1), context=512)
    with pytest.raises(ResourceError, match="-c"):
        list(session.generate(PROMPT, greedy, 1))
    check(session)
    assert list(session.generate(PROMPT[:5], greedy, 1)) == expected(PROMPT[:5], 1)


# ---- what forgets: recurrent state -------------------------------------------------------------------------------------------------------


def recurrent(chunk: int | None = None, **executor: int) -> Session:
    return Session(RecurrentExecutor(8, **executor), 512, chunk)


@pytest.mark.parametrize("kind", [RecurrentExecutor, RingExecutor])
@settings(max_examples=80, deadline=None)
@given(turns=st.lists(st.tuples(tokens, st.integers(0, 8), st.integers(0, 150)), min_size=1, max_size=6), chunk=st.one_of(st.none(), st.integers(1, 300)))
def test_a_model_that_forgets_gives_the_same_answers(kind: type[FakeExecutor], turns: list[tuple[list[int], int, int]], chunk: int | None) -> None:
    session, last = Session(kind(8), 512, chunk), list[int]()
    for fresh, keep, read in turns:
        prompt = last[: len(last) * keep // 8] + fresh
        stream = session.generate(prompt, greedy)
        answer = [next(stream) for _ in range(read)]
        stream.close()
        assert answer == expected(prompt, read)
        check(session)
        last = (prompt + answer)[:160]


def test_a_chat_goes_on_from_the_end_of_the_last_prompt() -> None:
    """The template dropped the reasoning of the last answer and wrote the opening of the answer differently."""
    session = recurrent(chunk=512, max_rows=512)
    list(session.generate(PROMPT, greedy, 6))
    assert session.executor.steps == [134, 16, 1, 1, 1, 1, 1]
    session.executor.steps.clear()
    longer = [*PROMPT[:-3], *range(40)]
    assert list(session.generate(longer, greedy, 4)) == expected(longer, 4)
    assert session.stats.cached_tokens == 134
    assert session.executor.steps[:2] == [len(longer) - 16 - 134, 16]
    assert session.executor.copies == 3


def test_an_answer_that_is_kept_is_not_evaluated_again() -> None:
    session = recurrent(chunk=512, max_rows=512)
    answer = list(session.generate(PROMPT, greedy, 6))
    list(session.generate([*PROMPT, *answer, 1, 2, 3], greedy, 1))
    assert session.stats.cached_tokens == 155


def test_a_recurrent_model_begins_again_where_nothing_was_kept() -> None:
    session = recurrent(chunk=512, max_rows=512)
    list(session.generate(PROMPT, greedy, 1))
    list(session.generate([*PROMPT[:100], 1, 2, 3], greedy, 1))
    assert session.stats.cached_tokens == 0
    session.rewind(80)
    assert session.tokens == []


@pytest.mark.parametrize("row", [0, 1, 7, 64, 149, 150, 152])
def test_ctrl_c_within_a_step_of_a_recurrent_model(row: int) -> None:
    session = recurrent()
    session.executor.interrupt_at = row
    with pytest.raises(KeyboardInterrupt):
        list(session.generate(PROMPT, greedy, 5))
    for prompt in (PROMPT, [*PROMPT[:row], 3, 4]):
        assert list(session.generate(prompt, greedy, 5)) == expected(prompt, 5)
        check(session)


def test_ctrl_c_at_every_line_with_a_recurrent_model() -> None:
    first, second = PROMPT[:70], [*PROMPT[:66], 9, 9, 9]
    lines, finished, tracer = 0, False, sys.gettrace()
    while not finished:
        lines += 1
        session = recurrent(chunk=40)
        list(session.generate([*PROMPT[:60], *PROMPT[:70]], greedy, 1))
        sys.settrace(Interrupt(lines))
        try:
            list(session.generate(first, greedy, 3))
            finished = True
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(tracer)
        assert list(session.generate(second, greedy, 2)) == SECOND
        check(session)
    assert lines > 200


# ---- windows in rings ------------------------------------------------------------------------------------------------------


def ringed(chunk: int | None = None, **executor: int) -> Session:
    return Session(RingExecutor(8, **executor), 512, chunk)


@pytest.mark.parametrize(("said", "copies"), [(6, 0), (93, 0), (95, 1), (250, 1)])
def test_what_comes_before_an_answer_is_within_reach(said: int, copies: int) -> None:
    """A long answer, of which the next prompt has nothing: a copy was made before the end of the prompt was lost, not sooner."""
    session = ringed(chunk=64)
    list(session.generate(PROMPT, greedy, said))
    assert session.executor.copies == copies
    assert session.executor.steps[:4] == [64, 64, 22, 1], "no step ends before the end of a prompt"
    longer = [*PROMPT[:-3], *range(40)]
    for cached in (len(PROMPT) - 3, len(longer) - 1, len(longer) - 1):
        assert list(session.generate(longer, greedy, 120)) == expected(longer, 120)
        assert session.stats.cached_tokens == cached


def test_what_the_rings_lost_is_evaluated_again() -> None:
    session = ringed(chunk=64)
    list(session.generate(PROMPT * 2, greedy, 1))
    list(session.generate([*PROMPT, 1, 2, 3], greedy, 1))
    assert session.stats.cached_tokens == 0
    list(session.generate([*PROMPT, 4, 4], greedy, 1))
    assert session.stats.cached_tokens == 150


@pytest.mark.parametrize(("row", "cached"), [(0, 0), (1, 0), (7, 0), (64, 64), (127, 64), (149, 128), (150, 149), (152, 149)])
def test_ctrl_c_within_a_step_of_a_model_with_rings(row: int, cached: int) -> None:
    """What was in memory before the step is still there."""
    session = ringed(chunk=64)
    session.executor.interrupt_at = row
    with pytest.raises(KeyboardInterrupt):
        list(session.generate(PROMPT, greedy, 5))
    for prompt, kept in ((PROMPT, cached), ([*PROMPT[:row], 3, 4], 0)):
        assert list(session.generate(prompt, greedy, 5)) == expected(prompt, 5)
        assert session.stats.cached_tokens >= kept
        check(session)


def across(horizon: int, prompt: list[int], count: int) -> list[int]:
    """What greedy decoding says where tokens count for others in sequences longer than the horizon."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(truth([t + 1000 * (len(tokens) > horizon) for t in tokens], 50).argmax()))
    return tokens[len(prompt) :]


@pytest.mark.parametrize("chunk", [None, 1, 7])
@pytest.mark.parametrize("length", [1, 60, 69, 70, 71, 150])
def test_beyond_a_horizon_the_sequence_is_evaluated_anew(length: int, chunk: int | None) -> None:
    session = new(chunk, horizons=(70,))
    assert list(session.generate(PROMPT[:length], greedy, 20)) == across(70, PROMPT[:length], 20)
    shorter = PROMPT[: length // 2 + 1]
    assert list(session.generate(shorter, greedy, 5)) == across(70, shorter, 5)


def test_memory_from_the_other_side_of_a_horizon_is_not_used() -> None:
    session = new(horizons=(70,))
    list(session.generate(PROMPT[:60], greedy, 1))
    list(session.generate(PROMPT[:90], greedy, 1))
    assert session.stats.cached_tokens == 0
    list(session.generate(PROMPT[:95], greedy, 1))
    assert session.stats.cached_tokens == 90
    logits = np.concatenate([part.copy() for part in session.logits(PROMPT[:71])])
    np.testing.assert_array_equal(logits[9], truth([t + 1000 for t in PROMPT[:10]], 50))
