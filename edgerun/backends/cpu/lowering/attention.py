"""Keys and values into their pages, and attention over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgerun.backends.cpu.isa import multiplies_pairs
from edgerun.backends.cpu.kernels import frame as F
from edgerun.backends.cpu.kernels.kinds import KINDS
from edgerun.backends.cpu.phase import Phase, bits
from edgerun.graph import ops

MOST_SHARING = 8   # queries of one row and head that attention's kernel takes at once
FOREVER = 1 << 40   # a window that no position falls out of
LOG2E = 1.4426950408889634

if TYPE_CHECKING:
    from edgerun.backends.cpu.phases import Phases


def store(p: Phases, op: ops.Store) -> None:
    """Keys and values to their pages, in the kinds of numbers that these have."""
    cache = p.caches[op.cache]
    p.row(f"store-{'-'.join(p.kinds)}", None, *p.at(op.k), *p.at(op.v), cache.kv_heads, cache.key_width, cache.value_width,
          *_pages(p, op.cache), p.frame, F.RING_PAGES if p.in_ring(op.cache) else F.PAGES)   # fmt: skip


def attention(p: Phases, op: ops.Attention) -> None:
    """A phase leaves results by span in slots; the row op that makes them one goes into the chain behind it."""
    assert op.causal or not (op.window or op.chunk or op.slopes), "a window or a distance of a row that sees what comes after it"
    p.flush()
    cache, (keys, values) = p.caches[op.cache], p.kinds
    group = op.heads // cache.kv_heads
    assert not (op.window and op.chunk), "a layer has a window or goes by chunks"
    assert not p.in_ring(op.cache) or (op.window and op.window <= (cache.window or 0)), "a layer looks at what its memory forgets"
    room, window = KINDS[values].room(cache.value_width), -op.chunk if op.chunk else op.window or FOREVER
    per = -(-group // -(-group // MOST_SHARING))   # queries of a row that go together
    parts = min(p.threads, -(-group // per))       # one head of keys for very many queries is still work for all threads
    scale, softcap = (op.scale, op.softcap) if op.softcap else (op.scale * LOG2E, 0.0)   # weights are powers of two
    slopes = p.block(*(bits(slope * LOG2E) for slope in op.slopes)) if op.slopes else 0
    args = p.block(*_pages(p, op.cache), *p.at(op.q), p.slots, p.slot, group, cache.kv_heads, cache.key_width, room,
                   bits(scale), window, bits(softcap), p.frame, parts, slopes, F.RING_TABLES if p.in_ring(op.cache) else F.TABLES)   # fmt: skip
    pairs = not p.weights.exact and p.kinds != ("f32", "f32") and multiplies_pairs(p.isa)
    kernel = f"attention-{keys}-{values}-{per}{'-alibi' * bool(op.slopes)}{'-pairs' * pairs}"
    p.phase(Phase(kernel, args, per_tile=cache.kv_heads * parts))
    p.row(f"merge-{values}", op.out, p.slots, p.slot, *p.at(op.out), op.heads, cache.value_width, room, window,
          p.vector(op.sinks), p.frame)   # fmt: skip


def _pages(p: Phases, cache: int) -> tuple[int, int, int, int, int]:
    """Address of the keys in page 0, bytes of one head of them; the same of the values; bytes of a page."""
    (keys, values), place, of = p.kinds, p.kv[cache], p.caches[cache]
    return place.keys, KINDS[keys].page(of.key_width), place.values, KINDS[values].page(of.value_width), place.page
