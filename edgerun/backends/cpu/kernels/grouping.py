"""Which rows go to which expert: the slots of all rows, sorted by expert, so that each expert's are next to each other.

A table has, after a word with the number of experts that have rows, an entry for each of these, in the order of their numbers, and
from PAIRS(experts) on one for each slot, sorted:

    experts    int32 [4]: the expert, its first slot, its slots, not used
    slots      int32 [4]: row, slot of the row, entry of its expert, not used

The argument block, in 8-byte words: choice, stride, used, experts, table, address of the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable

from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.control import ENTRY, MOST_EXPERTS


@S.inner
def expert_of(choice: int, slot: int) -> int:
    """The number that stands as a float in a choice."""
    return int(S.peek_f32(choice + 4 * slot))


def build() -> Callable[[int, int], None]:
    """The kernel; one chunk does all. Slots of an expert are in the order of their rows."""
    next_of, entry_of = S.scratch(8 * MOST_EXPERTS), S.scratch(8 * MOST_EXPERTS)

    def group(args: int, chunk: int) -> None:
        choice, stride, used, experts = S.word(args, 0), S.word(args, 1), S.word(args, 2), S.word(args, 3)
        table, rows, place, entry = S.word(args, 4), S.peek(S.word(args, 5)), next_of(), entry_of()
        for e in range(experts):
            S.poke(place + 8 * e, 0)
        for row in range(rows):
            for slot in range(used):
                at = place + 8 * expert_of(choice + row * stride, slot)
                S.poke(at, S.peek(at) + 1)
        there = first = 0
        for e in range(experts):
            count = S.peek(place + 8 * e)
            if count:
                there += 1
                to = table + ENTRY * there
                S.poke_i32(to, e)
                S.poke_i32(to + 4, first)
                S.poke_i32(to + 8, count)
                S.poke(place + 8 * e, first)
                S.poke(entry + 8 * e, there - 1)
                first += count
        S.poke(table, there)
        pairs = table + ENTRY * (1 + experts)
        for row in range(rows):
            for slot in range(used):
                e = expert_of(choice + row * stride, slot)
                number = S.peek(place + 8 * e)
                to = pairs + ENTRY * number
                S.poke_i32(to, row)
                S.poke_i32(to + 4, slot)
                S.poke_i32(to + 8, S.peek(entry + 8 * e))
                S.poke(place + 8 * e, number + 1)

    return group
