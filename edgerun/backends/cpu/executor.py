"""A model compiled for this CPU: memory, machine code and threads, behind `step`. Knows no file, no text, no instruction."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from edgerun import machine
from edgerun.backends.cpu import isa as isas
from edgerun.backends.cpu.arena import Arena, aligned
from edgerun.backends.cpu.inputs import Inputs
from edgerun.backends.cpu.kernels import frame as F
from edgerun.backends.cpu.kernels.control import MOST_EXPERTS
from edgerun.backends.cpu.kvmemory import memory_bytes
from edgerun.backends.cpu.lowering.experts import expert_rooms
from edgerun.backends.cpu.native import Linked
from edgerun.backends.cpu.phase import quantized_bytes, reads
from edgerun.backends.cpu.phases import ROWS_PER_CHUNK, Phases, buffer_shapes, slot_bytes, slot_state_bytes, turning
from edgerun.backends.cpu.pool import Pool
from edgerun.backends.cpu.rings import NONE, Rings
from edgerun.backends.cpu.slots import Slots
from edgerun.backends.cpu.store import KernelStore
from edgerun.backends.cpu.weights import Weights, columns_bytes, matrices_bytes, packing_of, vector_bytes
from edgerun.backends.executor import SLOTS, Batch, MemoryPlan, Tensor, most_outputs
from edgerun.errors import Unsupported
from edgerun.graph import ops
from edgerun.graph.program import Program

Progress = Callable[[str, int, int], None]   # what is being done, done, of


def matrices_of(program: Program, tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """The matrices that are multiplied with, stacks of them too, once each."""
    names = dict.fromkeys(name for op in program.ops if isinstance(op, ops.Linear | ops.HeadLinear | ops.Experts) for name in op.weights)
    return [tensors[name] for name in names]


def _vectors(program: Program, tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """What is read besides matrices and tables of embeddings: weights of norms, biases, sinks."""
    tables = {name for op in program.ops if isinstance(op, ops.Embed) for name in (op.table, op.positions, op.types)}
    return [tensors[name] for name in program.tensors - tables - {t.name for t in matrices_of(program, tensors)}]


def _vector_bytes(program: Program, tensors: Mapping[str, Tensor]) -> int:
    columns = {op.weight for op in program.ops if isinstance(op, ops.Convolve)} | {op.a for op in program.ops if isinstance(op, ops.Scan) and op.dt.width == op.x.width}
    return sum(columns_bytes(t) if t.name in columns else vector_bytes(t) for t in _vectors(program, tensors))


def _scratch_bytes(program: Program, tensors: Mapping[str, Tensor], max_rows: int, exact: bool) -> int:
    total = sum(aligned(4 * rows * width) for rows, width in buffer_shapes(program, max_rows).values())
    isa, products = isas.choose(), [op for op in program.ops if isinstance(op, ops.Linear | ops.HeadLinear)]
    inputs = [(name, view) for op in products for name in op.weights for view in (op.x.views if isinstance(op, ops.HeadLinear) else [op.x])]
    coded = {(reads(packing_of(tensors[name], exact), isa), view) for name, view in inputs}
    total += sum(aligned(size) for kind, view in coded if kind != "floats" for size in quantized_bytes(kind, view.width, max_rows, isa))
    rooms = {key: sizes for op in program.ops if isinstance(op, ops.Experts) for key, sizes in expert_rooms(op, tensors, max_rows, exact).items()}
    total += sum(aligned(size) for sizes in rooms.values() for size in sizes)
    turns = {turning(op) for op in program.ops if isinstance(op, ops.Rope)}
    total += sum(aligned(16 * max_rows * len(op.frequencies)) for op in turns)
    return total + aligned(4 * max_rows) * len({(op.beta, op.length, op.offset) for op in program.ops if isinstance(op, ops.Temper)})


def plan(
    program: Program, tensors: Mapping[str, Tensor], *, pages: int, slots: int = SLOTS, max_rows: int = 512, numerics: str = "fast", kv: str = "f16",
    repack: str = "now",
) -> MemoryPlan:  # fmt: skip
    """Bytes that `compile` will take: all of them reserved, scratch and key/value memory resident only as they are used.

    What stays in the file's mapping is not among them: the system keeps it in memory as long as nobody else needs that.
    Unsupported where an attention head is wider than the kernels compute, or a layer has more experts.
    """
    exact = numerics == "exact"
    widest = max((max(c.key_width, c.value_width) for c in program.caches), default=0)
    if widest > F.MAX_HEAD:
        raise Unsupported(f"the model's attention heads are {widest} wide; the CPU backend computes up to {F.MAX_HEAD}: use the reference backend")
    most = max((op.count for op in program.ops if isinstance(op, ops.Experts)), default=0)
    if most > MOST_EXPERTS:
        raise Unsupported(f"the model has {most} experts in a layer; the CPU backend computes up to {MOST_EXPERTS}: use the reference backend")
    return MemoryPlan(
        weights=matrices_bytes(matrices_of(program, tensors), exact, repack, machine.threads().count) + _vector_bytes(program, tensors),
        kv=memory_bytes(program, kv, Rings.of(program, pages, slots, max_rows), pages),
        scratch=_scratch_bytes(program, tensors, max_rows, exact) + aligned(max_rows * slot_bytes(program, kv)),
        state=slots * slot_state_bytes(program),
    )


def kernels(program: Program, tensors: Mapping[str, Tensor], *, max_rows: int = 512, numerics: str = "fast", kv: str = "f16") -> set[str]:
    """Names of the kernels that `compile` will need. No weight is read, and no memory touched."""
    needs = plan(program, tensors, pages=1, max_rows=max_rows, numerics=numerics, kv=kv)
    frame = np.zeros(F.WORDS, np.int64)
    weights = Weights(matrices_of(program, tensors), numerics == "exact", read=False)
    phases = Phases(
        program, tensors, weights, Arena(needs.scratch, "activations"), Arena(needs.kv, "key/value memory"), Arena(needs.state, "recurrent state"),
        frame=frame.ctypes.data, kind=kv, pages=1, slots=SLOTS, rings=NONE, max_rows=max_rows, threads=1, isa=isas.choose(),
    )   # fmt: skip
    return phases.kernels | weights.kernels


class CpuExecutor:
    """See `backends/executor.Executor`. Not for several threads at once."""

    def __init__(
        self,
        program: Program,
        tensors: Mapping[str, Tensor],
        *,
        pages: int,
        slots: int,
        max_rows: int,
        threads: int,
        exact: bool,
        kv: str,
        repack: str = "now",
        progress: Progress | None,
    ) -> None:
        self.n_vocab, self.pages, self.max_rows, self.isa = program.n_vocab, pages, max_rows, isas.choose()
        rings = Rings.of(program, pages, slots, max_rows)
        self.reach, self.horizons = rings.reach, program.horizons
        needs = plan(program, tensors, pages=pages, slots=slots, max_rows=max_rows, numerics="exact" if exact else "fast", kv=kv, repack=repack)
        self._tensors = tensors
        report = (lambda what: lambda done, of: progress(what, done, of)) if progress else lambda what: None
        self._frame = np.zeros(F.WORDS, np.int64)
        self._weights = Weights(matrices_of(program, tensors), exact, repack=repack, threads=threads)
        self._phases = Phases(
            program, tensors, self._weights, Arena(needs.scratch, "activations"), Arena(needs.kv, "key/value memory", huge=True),
            Arena(needs.state, "recurrent state"), frame=self._frame.ctypes.data, kind=kv, pages=pages, slots=slots, rings=rings, max_rows=max_rows, threads=threads, isa=self.isa,
        )   # fmt: skip
        self._beside = Slots(slots, rings, self._phases.state, self._phases.ring)
        self.slots = self._beside.count
        linked = Linked(KernelStore(self.isa).load(self._phases.kernels | self._weights.kernels, report("kernels")), self.isa)
        self._phases.link(linked.addresses)
        self._weights.load(linked, threads, report("weights"))
        steps = self._phases.list
        self._table = np.zeros((len(steps), 4), np.int64)
        self._table[:, 0] = [linked.addresses[p.kernel] for p in steps]
        self._table[:, 1] = [p.args for p in steps]
        self._chunks = np.array([(p.fixed, p.per_rows, p.per_tile, p.slots, p.share, p.most, p.turns) for p in steps], np.int64).T
        self._late = np.array([p.on_outputs for p in steps])
        self._head = np.arange(len(steps)) >= self._phases.body
        self._counted: list[tuple[int, int, int, bool] | None] = [None, None]
        self._inputs = Inputs(program, tensors, self._phases, self._beside, self._frame, pages, max_rows)
        self._linked, self._threads = linked, threads
        self._pool: Pool | None = Pool(self._table, linked, threads)
        weakref.finalize(self, self._pool.close)   # threads end with their executor, and before the interpreter

    def step(self, batch: Batch) -> np.ndarray:
        """See `Executor.step`. AssertionError where the batch does not fit: nothing from outside reaches this unchecked."""
        assert self._pool is not None, "the executor is closed"
        n, m = len(batch.tokens), len(batch.outputs)
        hidden = batch.hidden or self._phases.logits is None
        assert 0 < n <= self.max_rows, "rows of the batch"
        assert m <= (n if hidden else min(n, most_outputs(self.n_vocab, self.max_rows))), "rows whose logits are asked for"
        self._count(n, m, self._inputs.fill(batch), hidden)
        self._pool.step()
        self._weights.after_step()
        rows = self._phases.hidden if hidden else self._phases.logits
        assert rows is not None, "hidden rows of a program that does not mark them"
        return rows[:m]

    def read(self, view: ops.View) -> np.ndarray:
        """See `Executor.read`."""
        return self._phases.buffer(view)[: self._frame[F.ROWS]]

    def replace(self, tensors: Iterable[Tensor]) -> None:
        """See `Replaceable.replace`."""
        for tensor in tensors:
            old = self._tensors[tensor.name]
            assert (tensor.shape, tensor.type) == (old.shape, old.type), "a tensor of another shape or type"
            self._tensors = {**self._tensors, tensor.name: tensor}
            self._inputs.replace(tensor)
            if tensor.name in self._weights.matrices:
                self._weights.replace(tensor)
        self._weights.load(self._linked, self._threads)

    def _count(self, n: int, m: int, tiles: int, hidden: bool) -> None:
        """Write the chunks of each phase where the next epoch reads them."""
        assert self._pool is not None
        parity = (self._pool.epoch + 1) & 1
        if self._counted[parity] == (n, m, tiles, hidden):
            return
        fixed, per_rows, per_tile, slots, share, most, turns = self._chunks
        rows = np.where(self._late, m, n)
        counts = fixed + per_rows * -(-rows // ROWS_PER_CHUNK) + per_tile * tiles + turns * np.minimum(-(-rows * slots // share), most)
        self._table[:, 2 + parity] = np.where(self._late & (m == 0) | self._head & hidden, 0, counts)
        self._counted[parity] = (n, m, tiles, hidden)

    def copy_state(self, source: int, target: int) -> None:
        """See `Executor.copy_state`."""
        self._beside.copy(source, target)

    def close(self) -> None:
        """See `Executor.close`."""
        if self._pool:
            self._pool.close()
            self._pool = None
            del self._phases, self._weights
