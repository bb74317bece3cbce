"""Layers with a window in rings: the bits of pages, whatever the steps, and less memory."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
import pytest
from oracle_case import load

from edgerun.backends import cpu
from edgerun.backends.cpu.rings import NONE, Rings
from edgerun.backends.executor import PAGE, Batch, Executor
from edgerun.engine.session import Session
from edgerun.graph.lower import lower
from edgerun.graph.program import Program

NAMES = ["gemma3n", "gpt-oss-ramp", "llama-window", "gemma4-shared", "cohere2"]   # shared memories, sinks, all layers, most layers
WINDOW, LENGTH, PAGES = 16, 400, 9
TOKENS = np.random.default_rng(1).integers(0, 96, (2, LENGTH)).astype(np.int32)


def steps(executor: Executor, parts: list[tuple[int, int, int]], sizes: list[int], states: list[int] | None = None) -> np.ndarray:
    """Logits of positions start:stop of some sequences, sizes[i % ...] rows of each at a time; parts: (sequence, start, stop)."""
    tables, out, i = np.arange(2 * PAGES, dtype=np.int32).reshape(2, -1), [[] for _ in parts], 0
    at = [start for _, start, _ in parts]
    while any(a < stop for a, (_, _, stop) in zip(at, parts, strict=True)):
        rows = [range(a, min(a + sizes[i % len(sizes)], stop)) for a, (_, _, stop) in zip(at, parts, strict=True)]
        positions = np.concatenate([np.array(r, np.int32) for r in rows])
        sequences = np.repeat(np.arange(len(parts), dtype=np.int32), [len(r) for r in rows])
        tokens = np.concatenate([TOKENS[s, list(r)] for (s, _, _), r in zip(parts, rows, strict=True)])
        own = tables[[s for s, _, _ in parts]]
        logits = executor.step(Batch(tokens, positions, sequences, own, np.arange(len(tokens), dtype=np.int32), states=None if states is None else np.array(states, np.int32)))
        for n in range(len(parts)):
            out[n].append(logits[sequences == n].copy())
        at, i = [r.stop for r in rows], i + 1
    return np.concatenate([np.concatenate(each) for each in out])


@pytest.fixture(scope="module", params=NAMES)
def programs(request: pytest.FixtureRequest) -> tuple[Program, Any]:
    case = load(request.param)
    return lower(case.spec(), case.shapes), case.tensors


def compiled(programs: tuple[Program, Any], ring: bool, **options: Any) -> Any:
    made = cpu.compile(*programs, **{"pages": 2 * PAGES, "max_rows": 64, "slots": 3 if ring else 20, "threads": 2} | options)
    assert bool(made.slots) == ring
    return closing(made)


def test_a_ring_computes_the_bits_of_pages(programs: tuple[Program, Any]) -> None:
    with compiled(programs, ring=False) as pages, compiled(programs, ring=True) as ring:
        want = steps(pages, [(0, 0, LENGTH)], [64])
        for sizes in ([64], [7], [1, 64, 3]):
            np.testing.assert_array_equal(steps(ring, [(0, 0, LENGTH)], sizes), want)


def test_sequences_of_one_batch_do_not_meet(programs: tuple[Program, Any]) -> None:
    parts = [(0, 0, 390), (1, 0, 330)]
    with compiled(programs, ring=False) as pages, compiled(programs, ring=True) as ring:
        want = steps(pages, parts, [30])
        for states in (None, [2, 0]):
            np.testing.assert_array_equal(steps(ring, parts, [30, 5], states), want)


def test_it_can_be_cut_back_as_far_as_it_reaches(programs: tuple[Program, Any]) -> None:
    with compiled(programs, ring=True) as ring:
        assert ring.reach == 2 * PAGE - WINDOW + 1
        want = steps(ring, [(0, 0, LENGTH)], [64])
        for back in (1, 60, ring.reach):
            np.testing.assert_array_equal(steps(ring, [(0, LENGTH - back, LENGTH)], [9]), want[LENGTH - back :])
        further = steps(ring, [(0, LENGTH - ring.reach - 30, LENGTH)], [64])
        assert not np.array_equal(further[:1], want[LENGTH - ring.reach - 30 :][:1])


@pytest.mark.parametrize("length", [20, 64, 100, 300])
def test_a_copy_goes_on_like_the_original(programs: tuple[Program, Any], length: int) -> None:
    with compiled(programs, ring=True) as ring:
        want = steps(ring, [(0, 0, LENGTH)], [64])[length:]
        steps(ring, [(1, 0, LENGTH)], [64], [1])   # so that there is something else where the copy goes
        steps(ring, [(0, 0, length)], [64], [2])
        ring.copy_state(2, 1)
        np.testing.assert_array_equal(steps(ring, [(0, length, LENGTH)], [50], [1]), want)


@pytest.mark.parametrize("kv", ["f32", "bf16", "q8_0", "q4_0", "q8_0:q4_0"])
def test_every_kind_of_numbers(kv: str) -> None:
    case = load("llama-window")
    programs = lower(case.spec(), case.shapes), case.tensors
    with compiled(programs, ring=False, kv=kv) as pages, compiled(programs, ring=True, kv=kv) as ring:
        np.testing.assert_array_equal(steps(ring, [(0, 0, LENGTH)], [50]), steps(pages, [(0, 0, LENGTH)], [50]))


def test_it_takes_the_memory_of_its_window(programs: tuple[Program, Any]) -> None:
    program, tensors = programs
    few, many = (cpu.plan(program, tensors, pages=pages, max_rows=64).kv for pages in (100, 1100))
    near = sum(1 for cache in program.caches if cache.window is not None) / len(program.caches)
    old = [cpu.plan(program, tensors, pages=pages, max_rows=64, slots=10**6).kv for pages in (100, 1100)]
    assert many - few <= (old[1] - old[0]) * (1 - near) * 1.4   # layers differ in width
    assert (many == few) == (near == 1)


def test_there_is_none_where_pages_take_less() -> None:
    case = load("llama-window")
    program = lower(case.spec(), case.shapes)
    assert Rings.of(program, pages=4, slots=2, max_rows=64) == NONE
    assert Rings.of(program, pages=5, slots=2, max_rows=64) == Rings(frozenset({0, 1}), 2, 2, 2 * PAGE - WINDOW + 1)
    assert Rings.of(program, pages=5, slots=2, max_rows=113).pages == 2
    assert Rings.of(program, pages=7, slots=2, max_rows=114).pages == 3
    without = load("exaone")
    assert Rings.of(lower(without.spec(), without.shapes), pages=1000, slots=2, max_rows=64) == NONE


def test_a_chat_answers_like_a_fresh_one(programs: tuple[Program, Any]) -> None:
    """Long answers that the next prompt has nothing of, so that the rings go back to a copy."""

    def answer(executor: Executor, prompt: list[int], count: int, session: Session | None = None, chunk: int | None = None) -> list[int]:
        return list((session or Session(executor, 1000, chunk)).generate(prompt, lambda logits, position, tokens: int(logits.argmax()), count))

    tokens = TOKENS[0].tolist()
    with compiled(programs, ring=True) as ring, compiled(programs, ring=False) as pages:
        session, prompt = Session(ring, 1000), tokens[:150]
        for more in (tokens[150:190], tokens[200:203], tokens[210:300]):
            assert answer(ring, prompt, 160, session) == answer(pages, prompt, 160, chunk=50)
            prompt = [*prompt[:-4], *more]
            assert answer(ring, prompt, 1, session) == answer(pages, prompt, 1)
            assert session.stats.cached_tokens >= len(prompt) - len(more)
