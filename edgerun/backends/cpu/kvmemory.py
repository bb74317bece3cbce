"""How keys and values lie in memory: pages of all layers but those with rings, and behind them the pages of all rings. Knows no op.

A page has for each of its layers 64 positions of keys, then of values, head by head (`kernels/kinds.py` draws one).
"""

from __future__ import annotations

from edgerun.backends.cpu.kernels.kinds import KINDS, kinds_of
from edgerun.backends.cpu.rings import Rings
from edgerun.dataclass import dataclass
from edgerun.graph.program import Cache, Program


@dataclass(frozen=True)
class Place:
    """Of one layer: addresses of its keys and of its values in page 0, and bytes from page to page."""

    keys: int
    values: int
    page: int


def _bytes(cache: Cache, kv: str) -> tuple[int, int]:
    """Bytes of the keys and of the values of one layer in a page."""
    keys, values = kinds_of(kv)
    return cache.kv_heads * KINDS[keys].page(cache.key_width), cache.kv_heads * KINDS[values].page(cache.value_width)


def page_bytes(program: Program, kv: str, rings: Rings, ring: bool) -> int:
    """Bytes of a page of the layers with rings, or of all others."""
    return sum(sum(_bytes(cache, kv)) for i, cache in enumerate(program.caches) if (i in rings.caches) == ring)


def memory_bytes(program: Program, kv: str, rings: Rings, pages: int) -> int:
    """Bytes of keys and values in all."""
    return pages * page_bytes(program, kv, rings, ring=False) + rings.slots * rings.pages * page_bytes(program, kv, rings, ring=True)


def places(program: Program, kv: str, rings: Rings, pages: int, start: int) -> list[Place]:
    """Where each layer's keys and values lie in memory that starts at an address."""
    page = {ring: page_bytes(program, kv, rings, ring) for ring in (False, True)}
    at, found = {False: start, True: start + pages * page[False]}, []
    for i, cache in enumerate(program.caches):
        ring, (keys, values) = i in rings.caches, _bytes(cache, kv)
        found.append(Place(at[ring], at[ring] + keys, page[ring]))
        at[ring] += keys + values
    return found
