from __future__ import annotations

import random
import time

from hypothesis import given
from hypothesis import strategies as st

from edgerun.text.merge import merge


def naive(parts: list[str], ranks: dict[str, int], joint: str) -> list[str]:
    """The definition: look at all neighbours, merge the first of the best, start again."""
    parts = list(parts)
    while True:
        pairs = [(ranks[each], at) for at in range(len(parts) - 1) if (each := parts[at] + joint + parts[at + 1]) in ranks]
        if not pairs:
            return parts
        at = min(pairs)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


symbols = st.text("abc", min_size=1, max_size=3)
tables = st.dictionaries(st.tuples(symbols, symbols).map(" ".join), st.integers(0, 5), max_size=30)


@given(st.text("abc", max_size=40), tables)
def test_merges_of_pairs_are_those_of_the_definition(text: str, ranks: dict[str, int]) -> None:
    assert merge(list(text), ranks.get, " ") == naive(list(text), ranks, " ")


@given(st.text("abc", max_size=40), st.dictionaries(st.text("abc", min_size=2, max_size=5), st.integers(0, 5), max_size=30))
def test_merges_to_tokens_are_those_of_the_definition(text: str, ranks: dict[str, int]) -> None:
    assert merge(list(text), ranks.get, "") == naive(list(text), ranks, "")


def test_a_long_run_takes_linear_time() -> None:
    ranks = {"a" * n + " " + "a" * n: n for n in (1, 2, 4, 8)}
    for text in ("a" * 60_000, "".join(random.Random(1).choices("ab", k=60_000))):
        began = time.process_time()
        assert "".join(merge(list(text), ranks.get, " ")) == text
        assert time.process_time() - began < 2


@given(st.text("abc", max_size=60), tables)
def test_work_grows_with_the_text_only(text: str, ranks: dict[str, int]) -> None:
    """Each neighbourhood is looked up once at first, and two after each merge."""
    looked_up = 0

    def rank(pair: str, default: int) -> int:
        nonlocal looked_up
        looked_up += 1
        return ranks.get(pair, default)

    parts = merge(list(text), rank, " ")
    assert looked_up <= max(0, len(text) - 1) + 2 * (len(text) - len(parts))
