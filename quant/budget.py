"""The best choice of one option each under a budget of bytes or of losses: a knapsack. Knows no tensor and no type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Option:
    """What an item can become: bytes that it takes, and the loss it brings; losses of items add up."""

    type: str
    nbytes: int
    loss: float


Choice = dict[str, Option]


def within_bytes(options: Mapping[str, Sequence[Option]], nbytes: int) -> Choice | None:
    """The choice of least loss that takes at most so many bytes; None where even the smallest takes more.

    Steps along the convex hulls of all items, the one that wins most for each byte first; it is optimal wherever such a step just fits,
    and what is left then is filled with what still fits.
    """
    chosen = {name: _hull(items)[0] for name, items in options.items()}
    left = nbytes - sum(option.nbytes for option in chosen.values())
    if left < 0:
        return None
    stuck = set()
    for name, option in _steps(options):
        if name not in stuck and option.nbytes - chosen[name].nbytes <= left:
            left -= option.nbytes - chosen[name].nbytes
            chosen[name] = option
        else:
            stuck.add(name)
    while fills := [
        (chosen[name].loss - option.loss, name, option)
        for name, items in options.items()
        for option in items
        if option.loss < chosen[name].loss and option.nbytes - chosen[name].nbytes <= left
    ]:
        _, name, option = max(fills, key=lambda fill: fill[0])
        left -= option.nbytes - chosen[name].nbytes
        chosen[name] = option
    return chosen


def within_loss(options: Mapping[str, Sequence[Option]], loss: float) -> Choice | None:
    """The choice of fewest bytes that loses at most so much, in the same steps; None where even the largest loses more."""
    chosen = {name: _hull(items)[0] for name, items in options.items()}
    lost = sum(option.loss for option in chosen.values())
    for name, option in _steps(options):
        if lost <= loss:
            return chosen
        lost -= chosen[name].loss - option.loss
        chosen[name] = option
    return chosen if sum(option.loss for option in chosen.values()) <= loss else None


def neighbours(items: Sequence[Option], option: Option) -> tuple[Option | None, Option | None]:
    """The corners of the hull next to an option: the one with fewer bytes, and the one that loses less; None where there is none."""
    hull = _hull(items)
    fewer = [other for other in hull if other.nbytes < option.nbytes]
    better = [other for other in hull if other.nbytes > option.nbytes and other.loss < option.loss]
    return (fewer[-1] if fewer else None, better[0] if better else None)


def _steps(options: Mapping[str, Sequence[Option]]) -> Iterator[tuple[str, Option]]:
    """All steps from a corner of a hull to the next, that with the most gain for a byte first."""
    steps = []
    for name, items in options.items():
        hull = _hull(items)
        steps += [(_slope(a, b), name, b) for a, b in pairwise(hull)]
    yield from ((name, option) for _, name, option in sorted(steps, key=lambda step: step[0]))


def _hull(items: Sequence[Option]) -> list[Option]:
    """The corners of the lower convex hull, from the fewest bytes to the least loss; slopes rise."""
    hull: list[Option] = []
    for option in sorted(items, key=lambda option: (option.nbytes, option.loss)):
        if hull and option.loss >= hull[-1].loss:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-1], option):
            hull.pop()
        hull.append(option)
    return hull


def _slope(a: Option, b: Option) -> float:
    """Loss for each byte from a to b: negative, the lower the better."""
    return (b.loss - a.loss) / (b.nbytes - a.nbytes)
