"""From a Program to phases: which kernels run on which memory, in which order. Knows every op; knows no instruction.

Ops that work on each row by itself are chained into one phase; each Linear is a phase (several matrices fan out), each
Attention is one. Activations are quantized where an integer matrix reads them, once per value.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from edgerun.backends.cpu.arena import Arena
from edgerun.backends.cpu.isa import Isa
from edgerun.backends.cpu.kernels import frame as F
from edgerun.backends.cpu.kernels.kinds import KINDS, kinds_of
from edgerun.backends.cpu.weights import Matrix, Weights
from edgerun.backends.executor import Tensor, most_outputs
from edgerun.graph import ops
from edgerun.graph.program import Cache, Program

ROWS_PER_CHUNK = 16        # rows of a chain: a group of quantized activations, whose cache lines two threads would fight for
TILE_ROWS = 24             # rows of an attention tile
MOST_SHARING = 8           # queries of one row and head that attention's kernel takes at once
FOREVER = 1 << 40          # a window that no position falls out of
LOG2E = 1.4426950408889634
CHUNK_BYTES = 96 << 10     # weights per chunk: smaller ones lose more to claiming than they win by balance
Word = int | str           # a str names a kernel whose address goes there once it is linked


@dataclass(frozen=True)
class Phase:
    """A kernel, its arguments and its number of chunks: fixed + per row tile (ROWS or OUTPUTS) or per attention tile."""

    kernel: str
    args: int
    fixed: int = 0
    per_rows: int = 0
    per_tile: int = 0
    on_outputs: bool = False


@dataclass(frozen=True)
class Quantized:
    """int8 activations of a view: addresses of codes, scales, sums of 16 and of 32 columns."""

    q: int
    d: int
    sums: int
    pairs: int


def bits(x: float) -> int:
    """A float32 in the low half of a word."""
    return struct.unpack("<I", struct.pack("<f", x))[0]


def kv_bytes(cache: Cache, kv: str) -> tuple[int, int]:
    """Bytes of the keys and of the values of one cache in a page."""
    keys, values = kinds_of(kv)
    return cache.kv_heads * KINDS[keys].page(cache.key_width), cache.kv_heads * KINDS[values].page(cache.value_width)


def page_bytes(program: Program, kv: str) -> int:
    """Bytes of a page: keys and values of 64 positions in all layers."""
    return sum(sum(kv_bytes(cache, kv)) for cache in program.caches)


def slot_bytes(program: Program, kv: str) -> int:
    """Bytes of a row's results of attention (`kernels/merge.py`): as many as the widest layer takes."""
    room = KINDS[kinds_of(kv)[1]].room
    return max((op.heads * (4 * room(program.caches[op.cache].value_width) + 64) for op in program.ops if isinstance(op, ops.Attention)), default=0)


def round16(n: int) -> int:
    """n rounded up to a multiple of 16."""
    return -(-n // 16) * 16


def buffer_shapes(program: Program, max_rows: int) -> dict[str, tuple[int, int]]:
    """(rows, width) of each buffer; the logits have only the rows that one step can ask for."""
    rows = {program.logits: most_outputs(program.n_vocab, max_rows)}
    return {name: (rows.get(name, max_rows), round16(width)) for name, width in program.buffers.items()}


def quantized_bytes(width: int, max_rows: int, isa: Isa) -> tuple[int, int, int, int]:
    """Bytes of the fields of `Quantized` for a view: codes, scales, sums of 16 and of 32 columns."""
    n = max_rows * width
    return n * isa.activation, n // 4, n // 4, n // 8


class Phases:
    """The phases of a program over given memory. `list` is the result; `rope` the tables a step fills."""

    def __init__(
        self,
        program: Program,
        tensors: Mapping[str, Tensor],
        weights: Weights,
        scratch: Arena,
        kv: Arena,
        *,
        frame: int,
        kind: str,
        pages: int,
        max_rows: int,
        threads: int,
        isa: Isa,
    ) -> None:
        self.list: list[Phase] = []
        self.rope: dict[tuple[tuple[float, ...], str, float], np.ndarray] = {}
        self.kernels: set[str] = {"run-step", "run-work"}
        self._tensors, self._weights, self._scratch, self._frame = tensors, weights, scratch, frame
        self._kinds, self._max_rows, self._threads, self._isa = kinds_of(kind), max_rows, threads, isa
        self._keep: list[np.ndarray | Arena] = [scratch, kv]   # addresses alone keep nothing alive
        self._fixups: list[tuple[np.ndarray, int, str]] = []
        self._chain: list[tuple[str, int]] = []
        self._on_outputs = False
        self._buffers = {name: scratch.floats(*shape) for name, shape in buffer_shapes(program, max_rows).items()}
        self._room: dict[ops.View, Quantized] = {}
        self._fresh: set[ops.View] = set()   # which views are quantized now
        self._page = page_bytes(program, kind)
        memory = kv.take(pages * self._page).ctypes.data
        starts = [0, *accumulate(n for cache in program.caches for n in kv_bytes(cache, kind))]
        self._kv = [(memory + k, memory + v) for k, v in zip(starts[:-1:2], starts[1::2], strict=True)]
        self._slot = slot_bytes(program, kind)
        self._slots = scratch.take(max_rows * self._slot).ctypes.data
        self._caches = program.caches
        for op in program.ops:
            self._lower(op)
        self._flush()
        self.logits = self._buffers[program.logits]

    def link(self, addresses: Mapping[str, int]) -> None:
        """Put the addresses of the kernels where their names stand."""
        for array, at, name in self._fixups:
            array[at] = addresses[name]

    def buffer(self, view: ops.View) -> np.ndarray:
        """float32 [max_rows, width] of a view."""
        return self._buffers[view.buffer][:, view.start : view.start + view.width]

    def _at(self, view: ops.View) -> tuple[int, int]:
        """Address of a view and bytes from row to row."""
        buffer = self._buffers[view.buffer]
        return buffer.ctypes.data + 4 * view.start, buffer.strides[0]

    def _block(self, *words: Word) -> int:
        """An argument block in memory."""
        array = np.array([0 if isinstance(w, str) else w for w in words], np.int64)
        self._keep.append(array)
        for at, word in enumerate(words):
            if isinstance(word, str):
                self.kernels.add(word)
                self._fixups.append((array, at, word))
        return array.ctypes.data

    def _vector(self, name: str | None) -> int:
        return self._weights.vector(self._tensors[name]) if name else 0

    def _rows(self) -> int:
        """Address of the number of rows that ops work on now."""
        return self._frame + 8 * (F.OUTPUTS if self._on_outputs else F.ROWS)

    def _phase(self, phase: Phase) -> None:
        self.kernels.add(phase.kernel)
        self.list.append(phase)

    def _flush(self) -> None:
        """The chained row ops become a phase."""
        if self._chain:
            words = [word for link in self._chain for word in link]
            args = self._block(self._rows(), ROWS_PER_CHUNK, len(self._chain), *words)
            self._phase(Phase("run-chain", args, per_rows=1, on_outputs=self._on_outputs))
            self._chain = []

    def _writes(self, view: ops.View) -> None:
        """What was quantized from this buffer is stale."""
        assert self._on_outputs or len(self._buffers[view.buffer]) == self._max_rows, "logits of more rows than there is room for"
        self._fresh = {v for v in self._fresh if v.buffer != view.buffer}

    def _row(self, kernel: str, out: ops.View | None, *words: Word) -> None:
        """Chain a row op."""
        self._chain.append((kernel, self._block(*words)))
        if out:
            self._writes(out)

    def _lower(self, op: ops.Op) -> None:
        assert not (self._on_outputs and isinstance(op, ops.Rope | ops.Store | ops.Attention)), "positions are known by row of the batch"
        method: Callable[[ops.Op], None] = getattr(self, f"_{type(op).__name__.lower()}")
        method(op)

    # --- one method per op ------------------------------------------------------------------------------------------------

    def _embed(self, op: ops.Embed) -> None:
        """The step itself looks embeddings up, before the phases run."""
        assert len(self.list) + len(self._chain) == 0, "embeddings come first"

    def _norm(self, op: ops.Norm) -> None:
        width = op.x.width // op.groups
        self._row(f"row-norm-{op.kind}", op.out, *self._at(op.x), *self._at(op.out), width, op.groups,
                  self._vector(op.weight), self._vector(op.bias), bits(op.eps))   # fmt: skip

    def _rope(self, op: ops.Rope) -> None:
        key = (op.frequencies, op.pairing, op.magnitude)
        if key not in self.rope:
            self.rope[key] = self._scratch.floats(self._max_rows, 4 * len(op.frequencies))
        width = op.x.width // op.heads
        self._row(f"row-rope-{op.pairing}", op.x, *self._at(op.x), op.heads, width, len(op.frequencies), self.rope[key].ctypes.data)

    def _pages(self, cache: int) -> tuple[int, int, int, int, int]:
        """Address of the keys in page 0, bytes of one head of them; the same of the values; bytes of a page."""
        (keys, values), (k, v), of = self._kinds, self._kv[cache], self._caches[cache]
        return k, KINDS[keys].page(of.key_width), v, KINDS[values].page(of.value_width), self._page

    def _store(self, op: ops.Store) -> None:
        cache = self._caches[op.cache]
        self._row(f"store-{'-'.join(self._kinds)}", None, *self._at(op.k), *self._at(op.v), cache.kv_heads, cache.key_width, cache.value_width,
                  *self._pages(op.cache), self._frame)   # fmt: skip

    def _gate(self, op: ops.Gate) -> None:
        self._row(f"row-gate-{op.activation}", op.out, *self._at(op.gate), *self._at(op.up), *self._at(op.out), op.out.width, 0)

    def _map(self, name: str, x: ops.View, y: ops.View, out: ops.View, factor: float = 0.0) -> None:
        self._row(f"row-map-{name}", out, *self._at(x), *self._at(y), *self._at(out), out.width, bits(factor))

    def _activate(self, op: ops.Activate) -> None:
        self._map(op.activation, op.x, op.x, op.out)

    def _add(self, op: ops.Add) -> None:
        self._map("add", op.x, op.y, op.out)

    def _scale(self, op: ops.Scale) -> None:
        self._map("scale", op.x, op.x, op.out, op.factor)

    def _softcap(self, op: ops.Softcap) -> None:
        self._map("softcap", op.x, op.x, op.out, op.cap)

    def _select(self, op: ops.Select) -> None:
        assert op.x.buffer != op.out.buffer, "a chunk would overwrite rows that another one has yet to read"
        self._flush()
        self._on_outputs = True
        self._row("row-select", op.out, *self._at(op.x), *self._at(op.out), op.x.width, self._frame)

    def _attention(self, op: ops.Attention) -> None:
        """A phase leaves results by span in slots; the row op that makes them one goes into the chain behind it."""
        self._flush()
        cache, (keys, values) = self._caches[op.cache], self._kinds
        group = op.heads // cache.kv_heads
        room, window = KINDS[values].room(cache.value_width), op.window or FOREVER
        scale, softcap = (op.scale, op.softcap) if op.softcap else (op.scale * LOG2E, 0.0)   # weights are powers of two
        args = self._block(*self._pages(op.cache), *self._at(op.q), self._slots, self._slot, group, cache.kv_heads, cache.key_width, room,
                           bits(scale), window, bits(softcap), self._frame)   # fmt: skip
        self._phase(Phase(f"attention-{keys}-{values}-{-(-group // -(-group // MOST_SHARING))}", args, per_tile=cache.kv_heads))
        self._row(f"merge-{values}", op.out, self._slots, self._slot, *self._at(op.out), op.heads, cache.value_width, room, window,
                  self._vector(op.sinks), self._frame)   # fmt: skip

    def _linear(self, op: ops.Linear) -> None:
        matrices = [self._weights.matrices[name] for name in op.weights]
        quantized = self._quantize(op.x, matrices)
        self._flush()
        start, links, first = 0, [], 0
        for matrix, bias in zip(matrices, op.biases, strict=True):
            out = op.out.part(start, matrix.rows)
            residual = op.residual.part(start, matrix.rows) if op.residual else None
            blocks = -(-matrix.rows // 16)
            per = max(1, min(CHUNK_BYTES // matrix.block_bytes, -(-blocks // (4 * self._threads))))
            chunks = -(-blocks // per)
            links.append((first, matrix.kernel, self._product(op.x, quantized, matrix, bias, out, residual, chunks)))
            start, first = start + matrix.rows, first + chunks
        if len(links) == 1:
            kernel, args = links[0][1:]
        else:
            kernel, args = "run-fan", self._block(len(links), *[word for link in links for word in link])
        self._phase(Phase(kernel, args, fixed=first, on_outputs=self._on_outputs))
        self._writes(op.out)

    def _product(self, x: ops.View, quantized: Quantized | None, matrix: Matrix, bias: str | None, out: ops.View, residual: ops.View | None, chunks: int) -> int:
        """The argument block of one matrix (`kernels/product.py` draws it)."""
        packing = matrix.packing
        if packing.kind == "code":
            assert quantized is not None
            blocks, inputs = matrix.cols // packing.cols, (quantized.q, quantized.d, quantized.pairs if packing.sub == 32 else quantized.sums)
        else:
            blocks, inputs = matrix.cols, (*self._at(x), 0)
        end = self._at(residual) if residual else (0, 0)
        return self._block(matrix.address, blocks, -(-matrix.rows // 16), chunks, *inputs, *self._at(out), matrix.rows, self._vector(bias), *end, self._rows())

    def _quantize(self, x: ops.View, matrices: list[Matrix]) -> Quantized | None:
        """Chain the quantization of x, unless it is there already or no matrix reads codes."""
        if all(m.packing.kind != "code" for m in matrices):
            return None
        if x not in self._room:
            self._room[x] = Quantized(*(self._scratch.take(size).ctypes.data for size in quantized_bytes(x.width, self._max_rows, self._isa)))
        room = self._room[x]
        if x not in self._fresh:
            self._row("row-quantize", None, *self._at(x), x.width, room.q, room.d, room.sums, room.pairs, self._rows())
            self._fresh.add(x)
        return room
