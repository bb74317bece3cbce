from __future__ import annotations

import numpy as np
import pytest

from edgerun.engine.scheduler import FIRST, LEAST, TARGET, TILE, Scheduler, Turn, batch_of
from edgerun.engine.sequence import Sequence


def waiting(tokens: int, done: int = 0) -> Sequence:
    return Sequence(list(range(tokens)), wanted=tokens - 1, done=done, pages=list(range(tokens // 64 + 1)))


def test_a_prompt_goes_in_chunks() -> None:
    prompt, scheduler = waiting(20), Scheduler(max_rows=512, chunk=7)
    seen = []
    while turns := scheduler.next([prompt]):
        seen += [(t.start, t.stop) for t in turns]
        prompt.done = turns[0].stop
    assert seen == [(0, 7), (7, 14), (14, 20)]


def test_a_question_in_its_template_is_one_chunk() -> None:
    assert [(t.start, t.stop) for t in Scheduler(max_rows=512).next([waiting(60)])] == [(0, 60)]


def test_a_large_model_is_not_read_for_a_row_at_a_time() -> None:
    """Where a step takes a second for its weights and 10 ms for each row, a prompt of 320 takes 10 steps and not 320."""
    prompt, scheduler, steps = waiting(320), Scheduler(max_rows=512), 0
    while turns := scheduler.next([prompt]):
        rows = turns[0].stop - turns[0].start
        prompt.done, steps = turns[0].stop, steps + 1
        scheduler.took(rows, 1 + 0.01 * rows)
    assert steps <= 10


def test_those_who_decode_go_first() -> None:
    writer, first, second = waiting(5, done=4), waiting(6), waiting(20)
    turns = Scheduler(max_rows=512, chunk=10).next([first, second, writer])
    assert [(t.sequence, t.start, t.stop) for t in turns] == [(writer, 4, 5), (first, 0, 6), (second, 0, 4)]


def test_a_step_never_exceeds_its_rows() -> None:
    everyone = [waiting(5, done=4) for _ in range(3)] + [waiting(9)]
    assert sum(t.stop - t.start for t in Scheduler(max_rows=4, chunk=100).next(everyone)) == 4
    assert len(Scheduler(max_rows=2).next(everyone)) == 2


def test_nothing_waits_nothing_runs() -> None:
    assert Scheduler(8).next([waiting(5, done=5)]) == []


@pytest.mark.parametrize("speed", [3, 40, 400, 1500, 1e6])
def test_the_chunk_follows_the_speed(speed: float) -> None:
    scheduler = Scheduler(max_rows=512)
    assert scheduler.chunk == FIRST
    for _ in range(6):
        scheduler.took(scheduler.chunk, scheduler.chunk / speed)
    assert scheduler.chunk == max(LEAST, min(512, int(speed * TARGET) // TILE * TILE))


def test_small_steps_do_not_shrink_the_chunk_unless_they_are_slow() -> None:
    scheduler = Scheduler(max_rows=512)
    scheduler.chunk = 512
    scheduler.took(1, 0.05)
    scheduler.took(1, 0.9)    # one token of a large model: says nothing about a chunk
    scheduler.took(100, 0.1)
    assert scheduler.chunk == 512
    scheduler.took(100, 2 * TARGET)
    assert scheduler.chunk == 48


def test_the_chunk_recovers_from_a_stolen_core() -> None:
    scheduler = Scheduler(max_rows=512)
    for seconds in (0.001, 0.001, 0.001, 30.0):
        scheduler.took(scheduler.chunk, seconds)
    assert scheduler.chunk == LEAST
    for _ in range(8):
        scheduler.took(scheduler.chunk, 0.0)
    assert scheduler.chunk == 512


def test_a_fixed_chunk_stays() -> None:
    scheduler = Scheduler(max_rows=512, chunk=64)
    scheduler.took(64, 10.0)
    assert scheduler.chunk == 64


def test_batch_of_several_turns() -> None:
    a = Sequence([7, 8, 9], wanted=1, done=0, pages=[4])
    b = Sequence(list(range(100, 170)), wanted=69, done=67, pages=[2, 0])
    batch = batch_of([Turn(a, 0, 3), Turn(b, 67, 70)])
    assert batch.tokens.tolist() == [7, 8, 9, 167, 168, 169]
    assert batch.positions.tolist() == [0, 1, 2, 67, 68, 69]
    assert batch.sequences.tolist() == [0, 0, 0, 1, 1, 1]
    assert batch.tables.tolist() == [[4, 0], [2, 0]]
    assert batch.outputs.tolist() == [1, 2, 5]


def test_batch_in_the_middle_of_a_prompt_asks_for_nothing() -> None:
    batch = batch_of([Turn(waiting(20), 0, 7)])
    assert batch.outputs.shape == (0,)
    assert batch.outputs.dtype == np.int32
