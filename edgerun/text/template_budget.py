"""What a chat template may spend: processor time and memory. Knows nothing of Jinja.

A template comes with a model file and may be hostile. Nothing can stop Python in the middle of a C function, so whatever
could be large asks first: `charge` before memory is made, `step` at every block, call and comparison. Containers that
hold each other many times over are small in memory and endless to print or to compare, so `weigh` counts what they
would be when written out.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from typing import Any

from edgerun.errors import TemplateError

SECONDS = 2.0              # of processor time for compiling, and again for rendering
FREE_MEMORY = 16 << 20     # characters (8 per container entry) that a template may make, in all,
MEMORY_PER_INPUT = 64      # and as many times its input, or as it has messages: some copy all text so far at each message,
MOST_MEMORY = 1 << 30      # but not more than this
INT_BITS = 4096            # largest integer a template may make

_STEPS_PER_LOOK = 16       # reading the clock is dearer than a step


class Budget:
    """The allowance of one compilation or one rendering."""

    def __init__(self, input_size: int = 0, messages: int = 0) -> None:
        self.memory = FREE_MEMORY + min(MOST_MEMORY, input_size * max(MEMORY_PER_INPUT, messages))
        self._limit = self.memory
        self._deadline = time.thread_time() + SECONDS
        self._steps = 0
        self._weights: dict[int, tuple[int, Any]] = {}   # by id; holds the object, so that its id stays its own

    def step(self) -> None:
        """Count one step; TemplateError when the time is over."""
        self._steps += 1
        if self._steps % _STEPS_PER_LOOK == 0 and time.thread_time() > self._deadline:
            raise TemplateError(f"the chat template takes longer than {SECONDS:g} s; use --raw to do without it")

    def charge(self, size: int) -> None:
        """Take `size` characters; TemplateError when they are not there."""
        self.memory -= size
        if self.memory < 0:
            raise TemplateError(
                f"the chat template makes more than {self._limit >> 20} Mi characters of text; use --raw to do without it"
            )

    def made(self, value: Any) -> Any:
        """Charge for a value that was just made, and return it."""
        if isinstance(value, str):
            self.charge(len(value))
        elif isinstance(value, (list, tuple, dict)):
            self.charge(8 * len(value))
            self.weigh(value)
        elif isinstance(value, int) and value.bit_length() > INT_BITS:
            raise TemplateError(f"the chat template makes an integer of more than {INT_BITS} bits; use --raw to do without it")
        return value

    def weigh(self, value: Any) -> int:
        """Characters of `value` written out, about; TemplateError when that would be more than the whole allowance."""
        if isinstance(value, str):
            return len(value) + 2
        if not isinstance(value, (list, tuple, dict)):
            return 8
        known = self._weights.get(id(value))
        if known:
            return known[0]
        weight = 8 + sum(map(self.weigh, _parts(value)))
        if weight > self._limit:
            self.charge(weight)
        self._weights[id(value)] = weight, value
        return weight


def size_of(value: Any) -> int:
    """Characters of `value` written out, about, without any bound."""
    if isinstance(value, str):
        return len(value) + 2
    return 8 + sum(map(size_of, _parts(value))) if isinstance(value, (list, tuple, dict)) else 8


def _parts(value: list[Any] | tuple[Any, ...] | dict[Any, Any]) -> Iterable[Any]:
    return itertools.chain(value, value.values()) if isinstance(value, dict) else value
