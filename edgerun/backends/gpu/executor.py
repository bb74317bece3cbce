"""A model compiled for a device, behind `step`. Knows no file, no text, no WGSL.

A step is cut into goes of at most 256 rows, a go into submits that take about a tenth of a second: a driver ends what holds a
device for long, and Ctrl-C waits for one submit. While the device is at work on a token, the step of the next is encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import NamedTuple

import numpy as np

from edgerun.backends.executor import PAGE, Batch, MemoryPlan, Tensor, most_outputs
from edgerun.backends.gpu import frame
from edgerun.backends.gpu.device import Device
from edgerun.backends.gpu.joining import matrices, vectors
from edgerun.backends.gpu.layout import Layout
from edgerun.backends.gpu.pipelines import Pipelines
from edgerun.backends.gpu.queue import PIECE, Encoded, Job, Queue
from edgerun.backends.gpu.recorder import Recorder, kv_bytes
from edgerun.backends.gpu.refusal import refusal
from edgerun.backends.gpu.weights import Weights, matrix_bytes, vector_words
from edgerun.errors import Unsupported
from edgerun.formats import by_id
from edgerun.graph import ops
from edgerun.graph.program import Program

Progress = Callable[[str, int, int], None]   # what is being done, done, of
_FIRST = np.zeros(1, np.int32)               # the number of the type of every token
_SHORT, _LONG = 0.05, 0.2                    # seconds of a submit: below, more is put into one; above, less
_FEWEST = 1e7                                # multiplications of a submit


def half(kv: str) -> bool:
    """Whether keys and values are kept as f16: what is asked for smaller is kept so, what reaches further as f32."""
    return not set(kv.split(":")) & {"f32", "bf16"}


def plan(program: Program, tensors: Mapping[str, Tensor], *, pages: int, max_rows: int = 512, kv: str = "f16", **ignored: object) -> MemoryPlan:
    """Bytes of the device that `compile` will take, with what is staged. Unsupported where the program cannot run on a GPU."""
    if reason := refusal(program, tensors):
        raise Unsupported(f"the GPU backend has {reason}; use the CPU")
    layout = Layout(program, max_rows)
    weights = sum(matrix_bytes(tensors[name]) for names in matrices(program, tensors) for name in names)
    weights += sum(4 * vector_words(parts, tensors) for parts in vectors(program, tensors))
    scratch = 4 * (layout.words + frame.words(layout.rows, pages)) + PIECE
    return MemoryPlan(weights, kv=pages * sum(sum(kv_bytes(cache, half(kv))) for cache in program.caches), scratch=scratch)


class Part(NamedTuple):
    """Of a program that ends where hidden rows are, or goes on to logits: what works on all rows, and what on those asked for."""

    hidden: bool
    body: bool = True
    asked: bool = True


class Ahead(NamedTuple):
    """Work that was encoded before it was needed, and for which part, rows, rows asked for and reach."""

    which: tuple[Part, int, int, bool]
    jobs: list[Job]
    work: Encoded


class GpuExecutor:
    """See `backends/executor.Executor`. Not for several threads at once."""

    def __init__(
        self, program: Program, tensors: Mapping[str, Tensor], device: Device, *,
        pages: int, max_rows: int, threads: int, kv: str, progress: Progress | None,
    ) -> None:  # fmt: skip
        plan(program, tensors, pages=pages, max_rows=max_rows, kv=kv)
        self.n_vocab, self.pages, self.max_rows = program.n_vocab, pages, max_rows
        self.slots, self.reach, self.horizons = 0, 0, program.horizons
        self._program, self._tensors, self._layout = program, tensors, Layout(program, max_rows)
        self._queue: Queue | None = Queue(device)
        queue, layout = self._queue, self._layout
        self._weights = Weights(queue, tensors, matrices(program, tensors), vectors(program, tensors))
        self._arena = queue.buffer(4 * layout.words, "activations")
        self._frame = queue.buffer(4 * frame.words(layout.rows, pages), "tables of pages")
        shared = {0: self._arena, 1: self._weights.vectors, 2: self._frame}
        pipelines = Pipelines(queue, shared)
        self._recorder = Recorder(program, tensors, layout, self._weights, pipelines, queue, pages=pages, half=half(kv))
        pipelines.upload()
        self._weights.load(threads, (lambda done, of: progress("weights", done, of)) if progress else None)
        self._most = 2e8   # multiplications of a submit: found out while steps run
        self._reach = 0    # positions of the longest sequence of a go
        self._ahead: Ahead | None = None   # of a step of one row
        self._latest = 0   # rows of the latest step that are still there, 0 where it took several goes

    def step(self, batch: Batch) -> np.ndarray:
        """See `Executor.step`. AssertionError where the batch does not fit: nothing from outside reaches this unchecked."""
        assert self._queue is not None, "the executor is closed"
        n, m = len(batch.tokens), len(batch.outputs)
        hidden = batch.hidden or self._program.logits is None
        assert 0 < n <= self.max_rows, "rows of the batch"
        assert len(batch.positions) == len(batch.sequences) == n, "one entry per row"
        assert m <= (n if hidden else min(n, most_outputs(self.n_vocab, self.max_rows))), "rows whose logits are asked for"
        assert np.all((batch.outputs >= 0) & (batch.outputs < n)), "row numbers whose logits are asked for"
        assert 0 <= batch.tables.min() <= batch.tables.max() < self.pages, "pages of the batch"
        assert 0 <= batch.sequences.min() <= batch.sequences.max() < len(batch.tables), "sequences of the batch"
        assert 0 <= batch.positions.min() <= batch.positions.max() < batch.tables.shape[1] * PAGE, "positions of the batch"
        rows = self._layout.rows
        results = []
        for start in range(0, n, rows):
            some = slice(start, min(n, start + rows))
            asked = batch.outputs[(batch.outputs >= some.start) & (batch.outputs < some.stop)] - start
            self._enter(batch, some, asked[: self._at_once(hidden)])
            results += list(self._go(some.stop - start, asked, hidden))
        self._latest = n if n <= rows else 0
        width = self._recorder.hidden.width if hidden and self._recorder.hidden else self.n_vocab
        return results[0] if len(results) == 1 else np.concatenate([np.zeros((0, width), np.float32), *results])

    def read(self, view: ops.View) -> np.ndarray:
        """See `Executor.read`. AssertionError where the latest step had more rows than are kept."""
        assert self._latest, "the latest step is there"
        outputs = view.buffer == self._program.logits
        return self._rows(view, min(self._latest, self._layout.outputs) if outputs else self._latest)

    def copy_state(self, source: int, target: int) -> None:
        """See `Executor.copy_state`: there is none."""

    def repeat(self, times: int) -> None:
        """Run what a step of one row runs so many times over, in one submit, and wait: for who measures."""
        assert self._queue is not None, "the executor is closed"
        jobs: list[Job] = [(d.pipeline, d.group, d.x, 1, d.z) for d in self._recorder.dispatches if d.low <= 1 and not d.near]
        self._queue.submit(jobs * times)
        self._queue.wait()

    def close(self) -> None:
        """See `Executor.close`."""
        if self._queue:
            self._queue = None
            del self._recorder, self._weights, self._arena, self._frame, self._ahead

    def _at_once(self, hidden: bool) -> int:
        """How many rows that are asked for are computed together."""
        return self._layout.rows if hidden else self._layout.outputs

    def _enter(self, batch: Batch, some: slice, asked: np.ndarray) -> None:
        """Write what the rows of a go begin with."""
        assert self._queue is not None
        positions = batch.positions[some]
        self._reach = int(positions.max()) + 1
        self._queue.write(self._frame, 0, frame.fill(positions, batch.sequences[some], batch.tables, asked))
        self._embed(batch.tokens[some], positions)
        for op, start in self._layout.ropes.items():
            frequencies = np.array(op.frequencies)
            if op.long:
                frequencies = np.where(batch.row_lengths()[some, None] > op.context, np.array(op.long), frequencies)
            angles = positions[:, None].astype(np.float64) * frequencies
            table = op.magnitude * np.concatenate([np.cos(angles), np.sin(angles)], 1)
            self._queue.write(self._arena, 4 * start, table.astype(np.float32))

    def _embed(self, tokens: np.ndarray, positions: np.ndarray) -> None:
        """Look the rows of the tokens, and of their positions and type, up in the file's own tables."""
        assert self._queue is not None
        buffers: dict[str, np.ndarray] = {}
        for op in self._recorder.embeddings:
            x = _rows(self._tensors[op.table], tokens) * np.float32(op.scale)
            if op.positions:
                x += _rows(self._tensors[op.positions], positions)
            if op.types:
                x += _rows(self._tensors[op.types], _FIRST)
            _, stride = self._layout.at(op.out)
            buffers.setdefault(op.out.buffer, np.zeros((len(tokens), stride), np.float32))[:, op.out.start : op.out.start + op.out.width] = x
        for name, rows in buffers.items():
            self._queue.write(self._arena, 4 * self._layout.at(ops.View(name, 0, 0))[0], rows)

    def _go(self, rows: int, asked: np.ndarray, hidden: bool) -> Iterator[np.ndarray]:
        """Run the rows that are there; the results of those asked for."""
        assert self._queue is not None
        recorder = self._recorder
        view = recorder.hidden if hidden else ops.View(self._program.logits or "", 0, self.n_vocab)
        assert view is not None, "hidden rows of a program that does not mark them"
        if not len(asked):
            self._run(Part(hidden, asked=False), rows, 0)
        each = self._at_once(hidden)
        for start in range(0, len(asked), each):
            some = asked[start : start + each].astype(np.uint32)
            if start:
                self._queue.write(self._frame, 4 * frame.OUTPUTS, np.array([len(some)], np.uint32))
                self._queue.write(self._frame, 4 * frame.SELECTED, some)
            self._run(Part(hidden, body=not start), rows, len(some))
            yield self._rows(view, len(some))

    def _run(self, part: Part, rows: int, outputs: int) -> None:
        """Submit a part of the program. The same of the next token is encoded while the device is at work on this one."""
        assert self._queue is not None
        which = part, rows, outputs, self._reach >= self._recorder.far
        ahead, self._ahead = self._ahead, None
        if ahead and ahead.which == which:
            self._queue.start(ahead.work)
            jobs = ahead.jobs
        else:
            jobs = self._in_pieces(part, rows, outputs)
        if rows == 1 and jobs:
            self._ahead = Ahead(which, jobs, self._queue.encode(jobs))

    def _in_pieces(self, part: Part, rows: int, outputs: int) -> list[Job]:
        """Submit a bounded piece of work at a time; the jobs, if they were all in one."""
        assert self._queue is not None
        jobs: list[Job] = []
        work, begun, one = 0.0, 0.0, True
        for d in self._recorder.dispatches[: self._recorder.body if part.hidden else None]:
            count = outputs if d.on_outputs else rows
            if not (part.asked if d.on_outputs else part.body) or not (d.low <= count <= d.high and d.near <= self._reach <= d.far):
                continue
            jobs.append((d.pipeline, d.group, d.x, -(-count // d.per), d.z))
            work += d.macs * count
            if work > self._most:
                begun = begun or perf_counter()
                self._queue.submit(jobs)
                jobs, work, one = [], 0.0, False
                self._queue.wait()
                begun = self._adapt(perf_counter() - begun)
        if jobs:
            self._queue.submit(jobs)
        return jobs if one else []

    def _adapt(self, seconds: float) -> float:
        """Learn from how long a full submit took; now."""
        if seconds < _SHORT:
            self._most *= 2
        elif seconds > _LONG:
            self._most = max(_FEWEST, self._most / 2)
        return perf_counter()

    def _rows(self, view: ops.View, rows: int) -> np.ndarray:
        """float32 [rows, view.width] of a view."""
        assert self._queue is not None
        start, stride = self._layout.at(view)
        words = (rows - 1) * stride + view.width
        raw = self._queue.read(self._arena, 4 * start, 4 * words).view(np.float32)
        if rows == 1:
            return raw[None]
        room = np.zeros(rows * stride, np.float32)
        room[:words] = raw
        return room.reshape(rows, stride)[:, : view.width]


def _rows(table: Tensor, numbers: np.ndarray) -> np.ndarray:
    """Some rows of a table as float32, read one by one."""
    raw = [table.read(n, n + 1) for n in numbers.tolist()]
    return by_id(table.type).dequantize(raw[0] if len(raw) == 1 else np.concatenate(raw))
