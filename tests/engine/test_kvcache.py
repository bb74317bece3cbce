from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerun.backends.executor import PAGE
from edgerun.engine.kvcache import PagePool, pages_for
from edgerun.errors import ResourceError


def test_pages_for() -> None:
    assert [pages_for(n) for n in (0, 1, PAGE, PAGE + 1)] == [0, 1, 1, 2]


def test_the_lowest_page_comes_first_and_none_twice() -> None:
    pool = PagePool(3)
    assert [pool.acquire() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ResourceError, match="-c"):
        pool.acquire()


def test_a_shared_page_is_freed_by_its_last_holder() -> None:
    pool = PagePool(1)
    page = pool.share(pool.acquire())
    pool.release(page)
    with pytest.raises(ResourceError):
        pool.acquire()
    pool.release(page)
    assert pool.acquire() == page


@pytest.mark.parametrize("misuse", ["share", "release"])
def test_a_free_page_cannot_be_shared_or_released(misuse: str) -> None:
    with pytest.raises(AssertionError):
        getattr(PagePool(1), misuse)(0)


def test_recount_believes_the_tables() -> None:
    pool = PagePool(4)
    lost, kept = pool.acquire(), pool.acquire()
    pool.recount([[kept], [kept, 3]])
    assert pool.references == [0, 2, 0, 1]
    assert pool.acquire() == lost


@given(st.lists(st.sampled_from(["acquire", "share", "release"]), max_size=60))
def test_every_page_is_either_free_or_held(actions: list[str]) -> None:
    pool, held = PagePool(5), []
    for action in actions:
        if action == "acquire" and pool.free:
            held.append(pool.acquire())
        elif action == "share" and held:
            held.append(pool.share(held[0]))
        elif action == "release" and held:
            pool.release(held.pop())
        assert pool.references == [held.count(page) for page in range(5)]
        assert sorted(pool.free) == [page for page in range(5) if page not in held]
