"""Ops with a recurrent state: each is a phase of its own, cut into blocks of 16 columns, that goes through the rows in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgerun.backends.cpu.phase import Phase, Word
from edgerun.graph import ops

PER_THREAD = 4   # chunks for each thread, so that a slow one delays the others little

if TYPE_CHECKING:
    from edgerun.backends.cpu.phases import Phases


def convolve(p: Phases, op: ops.Convolve) -> None:
    """The taps of 16 columns lie together."""
    words = *p.at(op.x), *p.at(op.out), p.columns(op.weight), p.vector(op.bias), op.taps, op.x.width
    _phase(p, "convolve", op.state, -(-op.x.width // 16), words)
    p.writes(op.out)


def scan(p: Phases, op: ops.Scan) -> None:
    """Columns of a head share a step, a decay and a factor of x, or each column of the only head has its own."""
    own, n = op.dt.width == op.x.width, op.b.width // op.groups
    assert op.heads == 1 or not own, "steps by head or by column"
    words = (*p.at(op.x), *p.at(op.dt), *p.at(op.b), *p.at(op.c), *p.at(op.out), p.columns(op.a) if own else p.vector(op.a),
             p.vector(op.d), op.x.width // op.heads, n, op.heads // op.groups)   # fmt: skip
    _phase(p, "scan-column" if own else "scan-head", op.state, op.heads * -(-op.x.width // op.heads // 16), words)
    p.writes(op.out)


def delta_rule(p: Phases, op: ops.DeltaRule) -> None:
    """A block is 16 columns of a head's matrix."""
    key, value = op.q.width // op.key_heads, op.v.width // op.heads
    each = 1 if op.tiled else op.heads // op.key_heads
    words = (*p.at(op.q), *p.at(op.k), *p.at(op.v), *p.at(op.beta), *p.at(op.dt), *p.at(op.out), p.vector(op.a), key, value, each, op.key_heads)
    _phase(p, "delta", op.state, op.heads * -(-value // 16), words)
    p.writes(op.out)


def _phase(p: Phases, kernel: str, state: int, blocks: int, words: tuple[Word, ...]) -> None:
    """A phase over `blocks`. Its argument block: frame, state, bytes of a slot, blocks, blocks per chunk, and what the kernel's file draws."""
    p.flush()
    per = -(-blocks // min(blocks, PER_THREAD * p.threads))
    args = p.block(p.frame, p.states[state], p.slot_state, blocks, per, *words)
    p.phase(Phase(kernel, args, fixed=-(-blocks // per)))
