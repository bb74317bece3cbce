"""What was typed as llama-bench has it: values, ranges, combinations, and what makes no sense."""

from __future__ import annotations

import pytest

from edgerun.bench import grammar as g
from edgerun.bench.grammar import Case, Setting
from edgerun.errors import UsageError


@pytest.mark.parametrize(("typed", "meant"), [
    (None, [7]), ([], [7]), (["512"], [512]), (["0"], [0]), (["128,256", "512"], [128, 256, 512]), (["1-4"], [1, 2, 3, 4]), (["5-5"], [5]),
    (["100-300+100"], [100, 200, 300]), (["100-350+100"], [100, 200, 300]), (["64-512*2"], [64, 128, 256, 512]), (["1,1,2,1"], [1, 2]),
    ([" 1, 2 "], [1, 2]), (["67108864"], [1 << 26]),
])  # fmt: skip
def test_values(typed: list[str] | None, meant: list[int]) -> None:
    assert g.numbers(typed, "-n", [7]) == meant


@pytest.mark.parametrize(("typed", "said"), [
    ("", "-n '' is no number"), ("x", "-n 'x' is no number, nor a range as 1-4, 100-300+100 or 64-512*2"), ("1,,2", "-n '' is no number"),
    ("-1", "is no number"), ("1.5", "is no number"), ("1e3", "is no number"), ("1-", "is no number"), ("1-2+", "is no number"), ("+1", "is no number"),
    ("1-2+1*2", "is no number"), ("9999999999", "is no number"), ("999999999", "-n takes 0 to 67108864, not 999999999"),
    ("4-1", "never gets to its end"), ("1-4+0", "never gets to its end"), ("1-4*1", "never gets to its end"), ("1-4*0", "never gets to its end"),
    ("0-4*2", "never gets to its end"), ("1-999999999", "more than 1000 values"), ("\x1b[2J", r"'\x1b[2J' is no number"), ("٣", "is no number"),
])  # fmt: skip
def test_what_is_no_value(typed: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        g.numbers([typed], "-n", [7])
    assert said in str(error.value)


def test_too_little() -> None:
    with pytest.raises(UsageError, match="-t takes 1 to 67108864, not 0"):
        g.numbers(["0"], "-t", [], least=1)


def test_pairs() -> None:
    assert g.pairs(None, "-pg") == []
    assert g.pairs(["512,128", "64,16", "512,128"], "-pg") == [(512, 128), (64, 16)]


@pytest.mark.parametrize("typed", ["512", "512,", ",1", "0,1", "1,0", "1,2,3", "a,b", "1-2,3", "-1,2", "999999999,1"])
def test_what_is_no_pair(typed: str) -> None:
    with pytest.raises(UsageError, match=f"-pg {typed!r} is not a prompt and a number of tokens behind it, as 512,128"):
        g.pairs([typed], "-pg")


def test_words() -> None:
    assert g.words(None, ["f16"]) == g.words(["", ","], ["f16"]) == ["f16"]
    assert g.words(["f16,f32", "f16"], []) == ["f16", "f32"]


def test_keys_and_values_have_a_type_each() -> None:
    assert g.kinds(["f16", "f32"], []) == ["f16", "f32"]
    assert g.kinds(["f16", "q8_0"], ["q8_0", "q4_0"]) == ["f16:q8_0", "f16:q4_0", "q8_0", "q8_0:q4_0"]


def test_tests_are_in_the_order_of_llama_bench() -> None:
    names = [case.name for case in g.cases([512, 0], [128], [(64, 16)], [0, 2048])]
    assert names == ["pp512", "tg128", "pp64+tg16", "pp512 @ d2048", "tg128 @ d2048", "pp64+tg16 @ d2048"]
    assert g.cases([0], [4], [], [3]) == [Case(0, 4, 3)]
    assert Case(64, 16, 5).tokens == 80


def test_nothing_to_measure() -> None:
    with pytest.raises(UsageError, match="there is nothing to measure; give -p, -n or -pg"):
        g.cases([0], [0], [], [0])


def test_all_combinations() -> None:
    found = g.settings(["a", "b"], [1, 2], ["f16"], [2048], [64, 512], 512)
    assert len(found) == 8
    assert found[:3] == [Setting("a", 1, "f16", 2048, 64), Setting("a", 2, "f16", 2048, 64), Setting("a", 1, "f16", 2048, 512)]


def test_more_rows_than_a_step_has() -> None:
    assert g.settings(["a"], [None], ["f16"], [128], [4096], 512)   # steps of 128 rows
    with pytest.raises(UsageError, match="-b 2048 -ub 1024 makes steps of more than 512 rows; use -ub 512 or less"):
        g.settings(["a"], [None], ["f16"], [2048], [1024], 512)


def test_too_many_combinations() -> None:
    with pytest.raises(UsageError, match="8000 combinations are too many; use at most 1000"):
        g.settings(["a"], range(1, 41), ["f16"], range(1, 201), [512], 512)
