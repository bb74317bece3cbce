"""From a Program to phases: which kernels run on which memory, in which order. `lowering/` knows the ops, the kernels the instructions.

Ops that work on each row by itself are chained into one phase; each Linear is a phase (several matrices fan out), each
Attention and each op with a state is one. Activations are quantized where an integer matrix reads them, once per value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from edgerun.backends.cpu.arena import Arena
from edgerun.backends.cpu.isa import Isa
from edgerun.backends.cpu.kernels import frame as F
from edgerun.backends.cpu.kernels.control import GROUP
from edgerun.backends.cpu.kernels.kinds import KINDS, kinds_of
from edgerun.backends.cpu.kvmemory import memory_bytes, page_bytes, places
from edgerun.backends.cpu.lowering import LOWERINGS
from edgerun.backends.cpu.phase import Phase, Quantized, Word, quantized_bytes, reads
from edgerun.backends.cpu.rings import Rings
from edgerun.backends.cpu.weights import Matrix, Weights
from edgerun.backends.executor import Tensor, most_outputs
from edgerun.graph import ops
from edgerun.graph.program import Program

ROWS_PER_CHUNK = GROUP     # rows of a chain: those that are quantized together
QUANTIZE = "row-quantize"  # what the names of the kernels begin with that do so
TILE_ROWS = 24             # rows of an attention tile


def slot_bytes(program: Program, kv: str) -> int:
    """Bytes of a row's results of attention (`kernels/merge.py`): as many as the widest layer takes."""
    room = KINDS[kinds_of(kv)[1]].room
    return max((op.heads * (4 * room(program.caches[op.cache].value_width) + 64) for op in program.ops if isinstance(op, ops.Attention)), default=0)


def slot_state_bytes(program: Program) -> int:
    """Bytes of one slot of recurrent state, all layers."""
    return sum(state_bytes(shape) for shape in program.states)


def state_bytes(shape: tuple[int, ...]) -> int:
    """Bytes of one state: float32, its last dimension filled up to a multiple of 16."""
    return 4 * math.prod(shape[:-1]) * round16(shape[-1])


def round16(n: int) -> int:
    """n rounded up to a multiple of 16."""
    return -(-n // 16) * 16


def buffer_shapes(program: Program, max_rows: int) -> dict[str, tuple[int, int]]:
    """(rows, width) of each buffer; the logits have only the rows that one step can ask for."""
    rows: dict[str | None, int] = {program.logits: most_outputs(program.n_vocab, max_rows)}
    return {name: (rows.get(name, max_rows), round16(width)) for name, width in program.buffers.items()}


def turning(op: ops.Rope) -> ops.Rope:
    """What of a rope decides its cosines and sines: layers that turn alike share a table."""
    return replace(op, x=ops.View("", 0, 0), heads=0)


class Phases:
    """The phases of a program over given memory. `list` is the result; `rope` and `temper` the tables a step fills.

    After the first `body` phases the rows asked for are in `hidden`, after all of them their logits in `logits`.
    """

    def __init__(
        self,
        program: Program,
        tensors: Mapping[str, Tensor],
        weights: Weights,
        scratch: Arena,
        kv: Arena,
        state: Arena,
        *,
        frame: int,
        kind: str,
        pages: int,
        slots: int,
        rings: Rings,
        max_rows: int,
        threads: int,
        isa: Isa,
    ) -> None:
        self.list: list[Phase] = []
        self.hidden: np.ndarray | None = None
        self.body = 0
        self.rope: dict[ops.Rope, np.ndarray] = {}
        self.temper: dict[tuple[float, int, int], np.ndarray] = {}
        self.kernels: set[str] = {"run-step", "run-work"}
        self._tensors, self.weights, self.scratch, self.frame = tensors, weights, scratch, frame
        self.kinds, self.max_rows, self.threads, self.isa = kinds_of(kind), max_rows, threads, isa
        self._keep: list[np.ndarray | Arena] = [scratch, kv, state]   # addresses alone keep nothing alive
        self._fixups: list[tuple[np.ndarray, int, str]] = []
        self.chain: list[tuple[str, int]] = []
        self.on_outputs = False
        self._buffers = {name: scratch.floats(*shape) for name, shape in buffer_shapes(program, max_rows).items()}
        self._rooms: dict[object, tuple[int, ...]] = {}
        self.fresh: set[tuple[ops.View, str]] = set()   # views that are quantized, or choices that are grouped, as they are now
        memory = kv.take(memory_bytes(program, kind, rings, pages))
        self.kv = places(program, kind, rings, pages, memory.ctypes.data)
        self.rings, self.ring = rings, memory[pages * page_bytes(program, kind, rings, ring=False) :].reshape(max(1, rings.slots), -1)
        self.slot = slot_bytes(program, kind)
        self.slots = scratch.take(max_rows * self.slot).ctypes.data
        self.slot_state = slot_state_bytes(program)
        self.state = state.take(slots * self.slot_state).reshape(slots, self.slot_state)
        self.states = [self.state.ctypes.data + start for start in (0, *accumulate(state_bytes(shape) for shape in program.states))]
        self.caches = program.caches
        for op in program.ops:
            self._lower(op)
        self.flush()
        self.logits = self._buffers[program.logits][:, : program.n_vocab] if program.logits else None

    def link(self, addresses: Mapping[str, int]) -> None:
        """Put the addresses of the kernels where their names stand."""
        for array, at, name in self._fixups:
            array[at] = addresses[name]

    def buffer(self, view: ops.View) -> np.ndarray:
        """float32 [max_rows, width] of a view."""
        return self._buffers[view.buffer][:, view.start : view.start + view.width]

    def at(self, view: ops.View) -> tuple[int, int]:
        """Address of a view and bytes from row to row."""
        buffer = self._buffers[view.buffer]
        return buffer.ctypes.data + 4 * view.start, buffer.strides[0]

    def block(self, *words: Word) -> int:
        """An argument block in memory."""
        array = np.array([0 if isinstance(w, str) else w for w in words], np.int64)
        self._keep.append(array)
        for at, word in enumerate(words):
            if isinstance(word, str):
                self.kernels.add(word)
                self._fixups.append((array, at, word))
        return array.ctypes.data

    def vector(self, name: str | None) -> int:
        """Address of the float32 values of a small tensor, 0 for none."""
        return self.weights.vector(self._tensors[name]) if name else 0

    def columns(self, name: str) -> int:
        """Address of the float32 values of a small matrix whose rows became columns."""
        return self.weights.columns(self._tensors[name])

    def turned(self, op: ops.Rope) -> np.ndarray:
        """The table of cosines and sines of a rope, float32 [max_rows, 4 * pairs]."""
        key = turning(op)
        if key not in self.rope:
            self.rope[key] = self.scratch.floats(self.max_rows, 4 * len(op.frequencies))
        return self.rope[key]

    def in_ring(self, cache: int) -> bool:
        """Whether a layer's keys and values are kept in rings."""
        return cache in self.rings.caches

    def rows(self) -> int:
        """Address of the number of rows that ops work on now."""
        return self.frame + 8 * (F.OUTPUTS if self.on_outputs else F.ROWS)

    def phase(self, phase: Phase) -> None:
        """Append a phase; the chain before it has to be flushed."""
        self.kernels.add(phase.kernel)
        self.list.append(phase)

    def fan(self, links: list[tuple[int, int, str, int]]) -> tuple[str, int]:
        """One kernel and its arguments for several: (first chunk, chunks, kernel, arguments) each (`kernels/run.py`, `fan`)."""
        if len(links) == 1:
            return links[0][2:]
        return "run-fan", self.block(len(links), links[-1][0] + links[-1][1], *[word for link in links for word in link])

    def room(self, key: object, sizes: Sequence[int]) -> tuple[int, ...]:
        """Addresses of scratch, one for each size; whoever has the same key has the same."""
        if key not in self._rooms:
            self._rooms[key] = tuple(self.scratch.take(size).ctypes.data for size in sizes)
        return self._rooms[key]

    def is_fresh(self, view: ops.View, what: str) -> bool:
        """Whether something that follows from a view has been made since it was last written; from now on it has."""
        fresh = (view, what) in self.fresh
        self.fresh.add((view, what))
        return fresh

    def flush(self) -> None:
        """The chained row ops become a phase."""
        if self.chain:
            words = [word for link in self.chain for word in link]
            args = self.block(self.rows(), ROWS_PER_CHUNK, len(self.chain), *words)
            self.phase(Phase("run-chain", args, per_rows=1, on_outputs=self.on_outputs))
            self.chain = []

    def writes(self, view: ops.View) -> None:
        """What was made from this buffer is stale."""
        assert self.on_outputs or len(self._buffers[view.buffer]) == self.max_rows, "logits of more rows than there is room for"
        self.fresh = {(v, what) for v, what in self.fresh if v.buffer != view.buffer}

    def row(self, kernel: str, out: ops.View | None, *words: Word) -> None:
        """Chain a row op. Nothing follows those that quantize, which wait for the last row of a group."""
        assert not self.chain or QUANTIZE not in self.chain[-1][0] or QUANTIZE in kernel, kernel
        self.chain.append((kernel, self.block(*words)))
        if out:
            self.writes(out)

    def _lower(self, op: ops.Op) -> None:
        assert not (self.on_outputs and isinstance(op, ops.LOCATED)), "positions and sequences are known by row of the batch"
        LOWERINGS[type(op)](self, op)

    def quantize(self, x: ops.View, matrix: Matrix) -> Quantized | None:
        """Chain the quantization of x as the matrix reads it, unless it is there already; None for one that reads floats."""
        kind = reads(matrix.packing, self.isa)
        if kind == "floats":
            return None
        room = Quantized(*self.room((x, kind), quantized_bytes(kind, x.width, self.max_rows, self.isa)))
        if not self.is_fresh(x, kind):
            self.row(f"{QUANTIZE}-{kind}", None, *self.at(x), x.width, room.q, room.d, room.sums, room.pairs, room.starts, self.rows())
        return room
