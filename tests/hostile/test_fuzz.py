"""A few hundred fuzzed files, in one process of their own. `python tests/hostile/fuzz.py -n 100000` tries more."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path

import fuzz
import pytest
from fuzz import Memory, Result, check, fuzz_in_processes, small_seeds
from mutations import mutate


def test_fuzzed_files(tmp_path: Path) -> None:
    result = fuzz_in_processes(400, 1, 1, [], tmp_path)
    assert not result.failures, result.failures[0]
    assert result.rejected["open"] > 200
    assert result.accepted["open"] > 20
    assert result.excess < 64 << 20


def test_mutations_depend_on_the_number_only(tmp_path: Path) -> None:
    seeds = small_seeds(tmp_path)
    for number in range(50):
        first, second = (mutate(seeds[0], seeds, random.Random(number)) for _ in range(2))
        assert first == second


def test_seeds_know_where_their_numbers_stand(tmp_path: Path) -> None:
    for seed in small_seeds(tmp_path):
        assert seed.fields[:3] == (4, 8, 16)
        assert len(seed.fields) > 60
        assert seed.fields[-1] < seed.header_size <= len(seed.head)


def greedy() -> None:
    bytes(200 << 20)


def endless() -> None:
    while True:
        pass


def broken() -> None:
    raise KeyError("bug")


@pytest.mark.parametrize(("bug", "problem"), [(greedy, "MemoryError"), (endless, "took longer"), (broken, "KeyError")])
def test_bugs_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: Callable[[], None], problem: str) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 0.2)
    small_seeds(tmp_path)
    handler = signal.signal(signal.SIGPROF, fuzz._hang)
    try:
        found = check(tmp_path / "llama.gguf", [("stage", lambda model: bug())], Result(), Memory())
    finally:
        signal.signal(signal.SIGPROF, handler)
    assert found is not None
    assert problem in found
