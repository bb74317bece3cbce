"""Which context fits in memory, decided before anything is loaded. Knows no model: only what a number of pages would need.

The default context is the trained one, at most 8192: enough for a long document, while a model trained for 128k would
else take gigabytes for a short question. Where less fits, the default is what fits. A context that was asked for is never
shortened: it fits, or a ResourceError names the flag that makes it fit.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

from edgerun.backends.executor import PAGE, MemoryPlan
from edgerun.dataclass import dataclass
from edgerun.engine.kvcache import pages_for
from edgerun.errors import ResourceError, UsageError
from edgerun.machine import Memory

DEFAULT_CONTEXT = 8192
SMALLEST_DEFAULT = 512   # a default below this would end most answers early, so say that the model does not fit
LARGEST_CONTEXT = 1 << 26
RESERVE = 64 << 20       # for the interpreter and its libraries


@dataclass(frozen=True)
class Fit:
    """A context in positions, what it needs, and a line for the user where it is not what they would expect."""

    context: int
    plan: MemoryPlan
    warning: str | None = None


def default_context(trained: int) -> int:
    """Positions of the context of a model trained for `trained` of them, when memory is no question."""
    return max(1, min(trained, DEFAULT_CONTEXT))


def check_context(context: int, longest: int | None = None) -> int:
    """`context` itself; UsageError when no model could have it, or this one not, which knows `longest` positions."""
    if not 1 <= context <= LARGEST_CONTEXT:
        raise UsageError(f"a context of {context} makes no sense; -c takes 1 to {LARGEST_CONTEXT}")
    if longest is not None and context > longest:
        raise UsageError(f"a context of {context} is not possible: the model learned {longest} positions one by one; -c takes at most {longest}")
    return context


def fit(plan: Callable[[int], MemoryPlan], asked: int | None, trained: int, memory: Memory, longest: int | None = None) -> Fit:
    """The context to run with. plan: pages -> what they need in all; asked: the user's context, None for the default;
    longest: positions that the model can compute at all, None for any.

    ResourceError when it does not fit, UsageError for more than `longest`.
    """
    context = default_context(trained) if asked is None else check_context(asked, longest)
    wanted = plan(pages_for(context))
    room = memory.available - RESERVE
    if wanted.total <= room:
        return Fit(context, wanted, f"context {context}: the model was trained for {trained}, beyond that it may ramble" if context > trained else None)
    pages = bisect_right(range(1, pages_for(context)), room, key=lambda n: plan(n).total)
    if asked is None and pages * PAGE >= min(SMALLEST_DEFAULT, context):
        return Fit(pages * PAGE, plan(pages), f"context {pages * PAGE} instead of {context}: more does not fit in memory ({memory.reason})")
    raise ResourceError(_does_not_fit(context, wanted, pages * PAGE, memory))


def _does_not_fit(context: int, plan: MemoryPlan, largest: int, memory: Memory) -> str:
    way_out = f"use -c {largest}, or a smaller quantization" if largest else "use a smaller quantization or a smaller model"
    return (
        f"not enough memory: {_size(plan.total + RESERVE)} needed (weights {_size(plan.weights)}, key/value memory {_size(plan.kv)} "
        f"at context {context}, scratch {_size(plan.scratch + RESERVE)}), {_size(memory.available)} available ({memory.reason}); {way_out}"
    )


def _size(n: int) -> str:
    return f"{n / 1e9:.2f} GB" if n >= 1e8 else f"{n / 1e6:.1f} MB"
