"""Neighbours merged pair by pair, the best pair first: the heart of BPE and of SentencePiece. Knows no vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

_SHIFT = 32   # a heap entry is rank << 32 | position: integers compare faster than pairs
_MASK = (1 << _SHIFT) - 1


def merge(parts: list[str], rank: Callable[[str, int], int], joint: str) -> list[str]:
    """Merge until no neighbours have a rank; the lowest rank first, the leftmost among equals. Empties `parts` of what it merges.

    rank(left + joint + right, -1): their rank, not negative, or -1. O(n log n) for n parts.
    """
    count = len(parts)
    ranks = [rank(parts[at] + joint + parts[at + 1], -1) for at in range(count - 1)]
    ranks.append(-1)
    heap = [value << _SHIFT | at for at, value in enumerate(ranks) if value >= 0]
    if not heap:
        return parts
    heapify(heap)
    after = list(range(1, count + 1))
    before = list(range(-1, count - 1))
    while heap:
        entry = heappop(heap)
        at = entry & _MASK
        if ranks[at] != entry >> _SHIFT:
            continue   # one of the two has been merged since
        gone = after[at]
        parts[at] += parts[gone]
        parts[gone] = ""
        ranks[gone] = -1
        right = after[at] = after[gone]
        if right < count:
            before[right] = at
            ranks[at] = value = rank(parts[at] + joint + parts[right], -1)
            if value >= 0:
                heappush(heap, value << _SHIFT | at)
        else:
            ranks[at] = -1
        left = before[at]
        if left >= 0:
            ranks[left] = value = rank(parts[left] + joint + parts[at], -1)
            if value >= 0:
                heappush(heap, value << _SHIFT | left)
    return [part for part in parts if part]
