from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerun.backends.executor import PAGE, MemoryPlan
from edgerun.engine.fit import RESERVE, fit
from edgerun.errors import ResourceError, UsageError
from edgerun.machine import Memory

MB = 1_000_000


def plan(pages: int) -> MemoryPlan:
    return MemoryPlan(weights=100 * MB, kv=pages * MB, scratch=10 * MB)


def room(n: int) -> Memory:
    return Memory(RESERVE + n, "free memory of this machine")


def test_what_fits_is_taken_as_asked() -> None:
    assert fit(plan, 130, 2048, room(113 * MB)).context == 130
    assert fit(plan, 130, 2048, room(113 * MB)).plan == plan(3)


@pytest.mark.parametrize(("trained", "context"), [(2048, 2048), (8192, 8192), (131072, 8192)])
def test_the_default_is_the_trained_context_up_to_a_cap(trained: int, context: int) -> None:
    found = fit(plan, None, trained, room(10**12))
    assert (found.context, found.warning) == (context, None)


def test_more_than_the_model_was_trained_for_is_given_with_a_warning() -> None:
    found = fit(plan, 300, 256, room(10**12))
    assert found.context == 300
    assert "trained for 256" in (found.warning or "")


def test_more_than_the_learned_positions_is_refused() -> None:
    assert fit(plan, 256, 256, room(10**12), longest=256).context == 256
    with pytest.raises(UsageError, match="-c takes at most 256"):
        fit(plan, 257, 256, room(10**12), longest=256)


def test_the_default_is_what_fits_and_says_so() -> None:
    found = fit(plan, None, 8192, room(120 * MB))
    assert (found.context, found.plan) == (640, plan(10))
    assert "640 instead of 8192" in (found.warning or "")


def test_a_default_too_small_to_be_of_use_is_refused() -> None:
    with pytest.raises(ResourceError, match="use -c 256, or a smaller quantization"):
        fit(plan, None, 8192, room(114 * MB))


def test_the_message_names_what_and_where() -> None:
    with pytest.raises(ResourceError) as error:
        fit(plan, 8192, 8192, room(120 * MB))
    assert str(error.value) == (
        "not enough memory: 0.31 GB needed (weights 0.10 GB, key/value memory 0.13 GB at context 8192, scratch 77.1 MB), "
        "0.19 GB available (free memory of this machine); use -c 640, or a smaller quantization"
    )
    assert error.value.exit_code == 6


def test_weights_that_do_not_fit_are_not_helped_by_a_shorter_context() -> None:
    with pytest.raises(ResourceError, match="use a smaller quantization or a smaller model"):
        fit(plan, 64, 8192, room(90 * MB))


@pytest.mark.parametrize("context", [0, -1, 1 << 40])
def test_contexts_that_make_no_sense(context: int) -> None:
    with pytest.raises(UsageError, match="-c"):
        fit(plan, context, 8192, room(10**12))


@given(st.integers(1, 1 << 16), st.integers(0, 2000 * MB))
def test_the_named_context_fits_and_the_next_page_does_not(asked: int, free: int) -> None:
    try:
        found = fit(plan, asked, 8192, room(free))
    except ResourceError as error:
        if "-c" in str(error):
            largest = int(str(error).split("-c ")[1].split(",")[0])
            assert fit(plan, largest, 8192, room(free)).context == largest
            with pytest.raises(ResourceError):
                fit(plan, largest + 1, 8192, room(free))
        else:
            assert plan(1).total > free
    else:
        assert found.context == asked
        assert found.plan.total <= free
        assert found.plan == plan(-(-asked // PAGE))
