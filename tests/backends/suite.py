"""The op suite: one small program per op and per setting that matters. Knows no backend; `test_ops.py` runs it on each."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgerun.backends.executor import PAGE, Batch, Executor
from edgerun.formats import by_id, by_name
from edgerun.graph import ops
from edgerun.graph.ops import View
from edgerun.graph.program import Cache, Program

VOCAB = 40
PAGES = -(-200 // PAGE)   # of one sequence


@dataclass
class MemoryTensor:
    """A tensor held in memory, as a backend sees one."""

    name: str
    shape: tuple[int, ...]
    type: int
    data: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.data.nbytes

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        return self.data[start:stop]


class MappedTensor(MemoryTensor):
    """One that is read where it lies: in a mapping that ends with its last byte, where the next one would end the process."""

    is_placed = True
    reads = 0

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        self.reads += 1
        return super().read(start, stop)

    def place(self) -> tuple[int, int]:
        self.file = tempfile.TemporaryFile()   # noqa: SIM115
        self.file.write(b"before it" + self.data.tobytes())
        self.file.flush()
        return self.file.fileno(), len(b"before it")

    def mapped(self) -> np.ndarray:
        with tempfile.TemporaryFile() as file:
            file.truncate(size := -(-self.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE)
            file.seek(size - self.nbytes)
            file.write(self.data.tobytes())
            file.truncate(size + mmap.PAGESIZE)
            room = mmap.mmap(file.fileno(), size + mmap.PAGESIZE, access=mmap.ACCESS_READ)
            if os.name == "posix":
                file.truncate(size)
        return np.frombuffer(room, np.uint8)[size - self.nbytes : size].reshape(self.data.shape)


def tensor(name: str, values: np.ndarray, fmt: str = "F32") -> MemoryTensor:
    """Values [rows, cols], [n, rows, cols] or [n] in a block format."""
    rows, kind = values.reshape(-1, values.shape[-1]), by_name(fmt)
    raw = kind.quantize(rows.astype(np.float32))
    return MemoryTensor(name, values.shape, kind.id, raw)


@dataclass
class Case:
    """A program, its weights and a bound on the error; `width` is what the embedding puts in `x`."""

    name: str
    width: int
    ops: list[ops.Op]
    out: int
    buffers: dict[str, int] = field(default_factory=dict)
    tensors: dict[str, MemoryTensor] = field(default_factory=dict)
    caches: tuple[Cache, ...] = ()
    states: tuple[tuple[int, ...], ...] = ()
    bound: float = 1e-11
    scale: float = 1.0
    positions: str | None = None
    types: str | None = None

    def program(self) -> Program:
        embed = ops.Embed(self.view("x"), "table", positions=self.positions, types=self.types)
        every = {"x": self.width, "logits": self.out, **self.buffers}
        return Program((embed, *self.ops), every, self.caches, frozenset(self.tensors) | {"table"}, self.out, states=self.states)

    def view(self, name: str) -> View:
        return View(name, 0, {"x": self.width, "logits": self.out, **self.buffers}[name])

    def all_tensors(self) -> dict[str, MemoryTensor]:
        x = np.random.default_rng(1).standard_normal((VOCAB, self.width)) * self.scale
        return {"table": tensor("table", x), **self.tensors}


def batches(rows: int, chunk: int, first_page: int = 0, pages: int = PAGES) -> Iterator[Batch]:
    """One sequence, `chunk` rows at a time; its pages, from first_page on, in an odd order."""
    table = first_page + np.random.default_rng(2).permutation(pages).astype(np.int32)[None]
    tokens = np.random.default_rng(3).integers(0, VOCAB, rows).astype(np.int32)
    for start in range(0, rows, chunk):
        part = tokens[start : start + chunk]
        positions = np.arange(start, start + len(part), dtype=np.int32)
        yield Batch(part, positions, np.zeros(len(part), np.int32), table, np.arange(len(part), dtype=np.int32))


def run(executor: Executor, rows: int, chunk: int, turn: int = 0, pages: int = PAGES) -> np.ndarray:
    """Logits of all rows of one sequence; a turn of its own gives it pages that nobody wrote before."""
    return np.concatenate([executor.step(batch).copy() for batch in batches(rows, chunk, turn * pages, pages)])


def nmse(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a - b) ** 2).sum() / (b.astype(np.float64) ** 2).sum())


@contextmanager
def compiling(compile: Callable[..., Executor], **usual: Any) -> Iterator[Callable[..., Executor]]:
    """Compiles a case, with these options where it has no others; every executor is closed at the end."""
    executors: list[Executor] = []

    def start(case: Case, **options: Any) -> Executor:
        executors.append(compile(case.program(), case.all_tensors(), **usual | options))
        return executors[-1]

    yield start
    for executor in executors:
        executor.close()


def _random(*shape: int, seed: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


X, OUT = View, "logits"


def norms() -> list[Case]:
    cases = []
    for kind in ("rms", "layer"):
        for width, groups in ((64, 1), (48, 3), (50, 1), (8, 1), (24, 2)):
            n = width // groups
            w, b = tensor("w", _random(n)), tensor("b", _random(n, seed=5))
            op = ops.Norm(X("x", 0, width), X(OUT, 0, width), "w", 1e-5, kind, groups, "b" if kind == "layer" else None)
            cases.append(Case(f"norm-{kind}-{width}-{groups}", width, [op], width, tensors={"w": w, "b": b}))
        for width, groups in ((96, 3), (72, 3), (24, 2)):   # parts of whole vectors, and not
            w, b = tensor("w", _random(groups, width // groups)), tensor("b", _random(groups, width // groups, seed=5))
            op = ops.Norm(X("x", 0, width), X(OUT, 0, width), "w", 1e-5, kind, groups, "b" if kind == "layer" else None, own=True)
            cases.append(Case(f"norm-{kind}-{width}-{groups}-own", width, [op], width, tensors={"w": w, "b": b}))
    plain = ops.Norm(X("x", 0, 32), X(OUT, 0, 32), None, 1e-6)
    return [*cases, Case("norm-plain", 32, [plain], 32)]


def linears(formats: list[str]) -> list[Case]:
    """Each format, odd numbers of rows, bias, residual, several matrices at once."""
    cases = []
    for fmt in formats:
        cols = max(by_name(fmt).block, 64)
        for rows in (64, 40):
            w = tensor("w", _random(rows, 2 * cols), fmt)
            op = ops.Linear(X("x", 0, 2 * cols), X(OUT, 0, rows), ("w",), (None,))
            cases.append(Case(f"linear-{fmt}-{rows}", 2 * cols, [op], rows, tensors={"w": w}))
        w, v = tensor("w", _random(24, cols), fmt), tensor("v", _random(40, cols, seed=6), fmt)
        b, r = tensor("b", _random(24, seed=7)), View("x", 0, 64)
        op = ops.Linear(X("x", 0, cols), X(OUT, 0, 64), ("w", "v"), ("b", None), r)
        cases.append(Case(f"linear-{fmt}-two", cols, [op], 64, tensors={"w": w, "v": v, "b": b}))
        if by_name(fmt).packing.scale == "bf16":   # bytes for scales, of which the smallest are subnormal
            w = tensor("w", _random(40, 2 * cols), fmt)
            w.data.reshape(40, -1, by_name(fmt).nbytes)[..., : by_name(fmt).packing.subs] = (np.arange(40, dtype=np.uint8) % 8)[:, None, None]
            op = ops.Linear(X("x", 0, 2 * cols), X(OUT, 0, 40), ("w",), (None,))
            cases.append(Case(f"linear-{fmt}-smallest", 2 * cols, [op], 40, tensors={"w": w}))
    return cases


def mixed_linear() -> Case:
    """Matrices that read the same activations, with AMX each rounded in its own way; twice, as what was rounded is kept."""
    w, v = tensor("w", _random(24, 256), "Q4_K"), tensor("v", _random(40, 256, seed=6), "Q8_0")
    steps: list[ops.Op] = [ops.Linear(X("x", 0, 256), X(OUT, 64 * i, 64), ("w", "v"), (None, None)) for i in range(2)]
    return Case("linear-mixed", 256, steps, 128, tensors={"w": w, "v": v})


def head_linears(formats: list[str]) -> list[Case]:
    """A matrix for each of three slices, which lie apart in x and in the result; rows that fill no block."""
    cases = []
    for fmt in formats:
        cols = max(by_name(fmt).block, 64)
        w = tensor("w", _random(3 * 40, cols), fmt)
        w = MemoryTensor("w", (3, 40, cols), w.type, w.data)
        op = ops.HeadLinear(X("x", 0, 6 * cols).slices(3, cols, cols), X(OUT, 0, 3 * 48).slices(3, 40, 8), "w")
        cases.append(Case(f"heads-{fmt}", 6 * cols, [op], 3 * 48, tensors={"w": w}))
    return cases


def slices() -> list[Case]:
    """Copies of slices of odd widths, some of the same one."""
    cases = []
    for width in (5, 16, 37):
        x, out = X("x", 0, 2 * 48), X(OUT, 0, 3 * 48)
        steps: list[ops.Op] = [
            ops.Copy(x.slices(2, width, 3), out.part(0, 96).slices(2, width, 7)),
            ops.Copy(ops.Slices(x.part(1, 3), 4, 0), out.part(96, 48).slices(4, 3, 2)),
        ]
        cases.append(Case(f"copy-{width}", 96, steps, 144))
    return cases


def wide_linears() -> list[Case]:
    """So many columns that few rows of activations fill a core's own cache, in each way that weights can meet them."""
    cases = []
    for fmt in ("Q4_0", "Q8_0", "Q3_K", "Q6_K"):
        w, cols = tensor("w", _random(80, 8192), fmt), 8192
        op = ops.Linear(X("x", 0, cols), X(OUT, 0, 80), ("w",), (None,))
        cases.append(Case(f"linear-{fmt}-wide", cols, [op], 80, tensors={"w": w}))
    return cases


def ropes() -> list[Case]:
    cases = []
    for pairing in ("neighbours", "halves"):
        for width, pairs in ((64, 32), (16, 8), (40, 20), (64, 8), (32, 10)):
            freqs = tuple(float(10000.0 ** (-i / pairs)) for i in range(pairs))
            v = X("x", 0, 3 * width)
            steps: list[ops.Op] = [ops.Rope(v, 3, freqs, pairing, 1.1), ops.Scale(v, X(OUT, 0, 3 * width), 1.0)]
            cases.append(Case(f"rope-{pairing}-{width}-{pairs}", 3 * width, steps, 3 * width))
    # Longer than no tokens at all: always the long ones.
    longer = ops.Rope(X("x", 0, 48), 3, (1.0,) * 8, "halves", 1.1, tuple(0.9**i for i in range(8)), 0)
    cases.append(Case("rope-long", 48, [longer, ops.Scale(X("x", 0, 48), X(OUT, 0, 48), 1.0)], 48))
    return cases


def attentions() -> list[Case]:
    settings: list[tuple[str, int, int, int, int, dict]] = [
        ("mha", 2, 2, 64, 64, {}), ("gqa", 9, 3, 64, 64, {}), ("mqa", 7, 1, 32, 32, {}), ("odd", 4, 2, 20, 24, {}), ("wide", 2, 1, 256, 256, {}),
        ("window", 4, 2, 32, 32, {"window": 16}), ("window70", 4, 2, 32, 32, {"window": 70}), ("window300", 9, 3, 64, 64, {"window": 300}), ("softcap", 4, 2, 32, 32, {"softcap": 2.0}),
        ("sinks", 4, 2, 32, 32, {"sinks": "sinks"}), ("chunk16", 4, 2, 32, 32, {"chunk": 16}), ("chunk70", 4, 2, 32, 32, {"chunk": 70}),
        ("chunk300", 9, 3, 64, 64, {"chunk": 300}), ("many", 128, 1, 40, 32, {}), ("latent", 20, 1, 576, 512, {}),
        ("alibi", 9, 3, 64, 64, {"slopes": tuple(2.0**-h for h in range(9))}), ("alibi-mha", 4, 4, 20, 20, {"slopes": (1.0, 0.5, 0.1, 0.002)}),
        ("alibi-window70-softcap", 4, 2, 32, 32, {"slopes": (1.0, 0.5, 0.1, 0.002), "window": 70, "softcap": 2.0}),
    ]   # fmt: skip
    cases = []
    for name, heads, kv, key, value, more in settings:
        q, k, v = heads * key, kv * key, kv * value
        x = X("x", 0, q + k + v)
        steps: list[ops.Op] = [
            ops.Store(x.part(q, k), x.part(q + k, v), 0),
            ops.Attention(x.part(0, q), X(OUT, 0, heads * value), 0, heads, key**-0.5, **more),
        ]
        cache = Cache(kv, key, value, more.get("window"))
        tensors = {"sinks": tensor("sinks", _random(heads))} if "sinks" in more else {}
        cases.append(Case(f"attention-{name}", x.width, steps, heads * value, caches=(cache,), tensors=tensors, bound=1e-10))
    return cases


COUNT, USED = 6, 3   # experts, and how many of them a row uses


def routes() -> list[Case]:
    """Every way to choose, of numbers of experts that fill no vector."""
    settings: list[tuple[str, int, int, dict]] = [
        ("softmax", 20, 3, {}), ("normalised", 5, 2, {"normalise": 0.0}), ("all", 16, 16, {"normalise": 0.0, "scale": 2.5}), ("one", 37, 1, {"gating": "sigmoid"}),
        ("biased", 40, 6, {"gating": "sigmoid", "normalise": 1e-20, "bias": "bias", "scale": 2.5}), ("factors", 9, 2, {"normalise": 0.0, "factors": "bias"}),
        ("groups", 24, 3, {"groups": 6, "groups_used": 2, "scale": 16.0}),
        ("groups2", 24, 5, {"gating": "sigmoid", "bias": "bias", "groups": 4, "groups_used": 2, "group_best": 2, "normalise": 1e-20}),
    ]   # fmt: skip
    cases = []
    for name, n, used, more in settings:
        op = ops.Route(X("x", 0, n), X(OUT, 0, 2 * used), used, **{"gating": "softmax"} | more)
        tensors = {"bias": tensor("bias", _random(n))} if "bias" in more.values() else {}
        cases.append(Case(f"route-{name}", n, [op], 2 * used, tensors=tensors, scale=2.0))
    return cases


def experts(formats: list[str]) -> list[Case]:
    """Two stacks side by side, with and without biases, on inputs that slots share; then one on inputs of their own; then their sum."""
    cases = []
    for fmt in formats:
        cols = max(by_name(fmt).block, 64)
        x, logits, choice = X("x", 0, cols), X("x", cols, COUNT), X("choice", 0, 2 * USED)
        both = X("both", 0, USED * (40 + cols))
        steps: list[ops.Op] = [
            ops.Route(logits, choice, USED, "softmax", 0.0),
            ops.Experts(x, choice, both, COUNT, cols, ("w", "v"), ("b", None)),
            ops.Experts(both.part(USED * 40, USED * cols), choice, X("slots", 0, USED * 24), COUNT, cols, ("u",), ("c",)),
            ops.Weigh(both.part(0, USED * 40), choice, X(OUT, 0, USED * 40)),
            ops.Mix(X("slots", 0, USED * 24), X(OUT, USED * 40, 24), choice, X("x", 0, 24)),
            ops.Mix(X("slots", 0, USED * 24), X(OUT, USED * 40 + 24, 24), None),
        ]
        tensors = {name: tensor(name, _random(COUNT, *shape, seed=i) / 8, fmt) for i, (name, shape) in enumerate({"w": (40, cols), "v": (cols, cols), "u": (24, cols)}.items())}
        tensors |= {name: tensor(name, _random(COUNT, rows, seed=rows)) for name, rows in (("b", 40), ("c", 24))}
        buffers = {"choice": 2 * USED, "both": both.width, "slots": USED * 24}
        cases.append(Case(f"experts-{fmt}", cols + COUNT, steps, USED * 40 + 48, buffers, tensors))
    return cases


def whole_attention() -> Case:
    """Every row sees all of its text, which has to come at once."""
    q, k, v = 6 * 32, 2 * 32, 2 * 24
    x = X("x", 0, q + k + v)
    steps: list[ops.Op] = [ops.Store(x.part(q, k), x.part(q + k, v), 0), ops.Attention(x.part(0, q), X(OUT, 0, 6 * 24), 0, 6, 32**-0.5, causal=False)]
    return Case("attention-whole", x.width, steps, 6 * 24, caches=(Cache(2, 32, 24),), bound=1e-10)


def recurrences() -> list[Case]:
    """Convolutions, scans by column and by head, delta rules: odd widths, groups, heads that share keys."""
    cases = []
    for width, taps, bias in ((64, 4, "b"), (50, 3, None), (7, 2, "b")):
        op = ops.Convolve(X("x", 0, width), X(OUT, 0, width), "w", bias, taps, 0)
        tensors = {"w": tensor("w", _random(width, taps))} | ({"b": tensor("b", _random(width, seed=5))} if bias else {})
        cases.append(Case(f"convolve-{width}-{taps}", width, [op], width, tensors=tensors, states=((taps - 1, width),)))
    for name, heads, width, groups, n in (("column", 1, 64, 1, 16), ("column-odd", 1, 37, 1, 5), ("head", 4, 32, 2, 24), ("head-odd", 6, 20, 3, 7), ("head-one", 3, 16, 1, 128)):
        own, inner, few = heads == 1, heads * width, groups * n
        steps = inner if own else heads
        x, dt, b, c = (X("x", start, size) for start, size in ((0, inner), (inner, steps), (inner + steps, few), (inner + steps + few, few)))
        scan = ops.Scan(x, dt, b, c, X(OUT, 0, inner), "a", "d", heads, groups, 0)
        decays = -np.abs(_random(*((inner, n) if own else (heads, 1)))) - 0.05
        tensors = {"a": tensor("a", decays), "d": tensor("d", _random(steps, seed=5))}
        total = inner + steps + 2 * few
        cases.append(Case(f"scan-{name}", total, [ops.Softplus(dt, dt), scan], inner, tensors=tensors, states=((heads, n, width),)))
    for name, heads, keys, key, value, tiled in (("alike", 2, 2, 32, 32, False), ("shared", 6, 3, 20, 24, False), ("tiled", 6, 3, 20, 24, True), ("wide", 2, 1, 128, 128, False)):
        k, v = keys * key, heads * value
        sizes = (k, k, v, heads, heads)
        parts = [X("x", sum(sizes[:i]), size) for i, size in enumerate(sizes)]
        both, beta, dt = X("x", 0, 2 * k), parts[3], parts[4]
        before = [ops.Norm(both, both, None, 1e-6, groups=2 * keys), ops.Scale(both, both, key**-0.5), ops.Activate(beta, beta, "sigmoid"), ops.Softplus(dt, dt)]
        rule = ops.DeltaRule(*parts, X(OUT, 0, v), "a", heads, keys, 0, tiled)
        tensors = {"a": tensor("a", -np.abs(_random(heads)) / 4)}
        cases.append(Case(f"delta-{name}", sum(sizes), [*before, rule], v, tensors=tensors, states=((heads, key, value),)))
    return cases


def case_of(name: str) -> Case:
    """One of the float cases."""
    return next(case for case in [*float_cases(), whole_attention()] if case.name == name)


def maps() -> list[Case]:
    cases = []
    for activation in ("silu", "gelu", "gelu_erf", "relu", "relu2", "sigmoid"):
        gate = ops.Gate(X("x", 0, 36), X("x", 36, 36), X(OUT, 0, 36), activation)
        cases.append(Case(f"gate-{activation}", 72, [gate], 36, scale=4.0))
        act = ops.Activate(X("x", 0, 36), X(OUT, 0, 36), activation)
        cases.append(Case(f"activate-{activation}", 36, [act], 36, scale=4.0))
    spread = ops.Gate(X("x", 36, 1), X("x", 0, 36), X(OUT, 0, 36), "sigmoid")
    clamped = ops.ClampedGate(X("x", 0, 36), X("x", 36, 36), X(OUT, 0, 36), 1.7, 5.0)
    cases += [Case("gate-spread", 37, [spread], 36, scale=4.0), Case("gate-clamped", 72, [clamped], 36, scale=4.0)]
    cases.append(Case("activate-xielu", 37, [ops.Activate(X("x", 0, 37), X(OUT, 0, 37), ops.Xielu(0.8, 1.3, 0.5, -0.25))], 37, scale=4.0))
    cases.append(Case("add", 64, [ops.Add(X("x", 0, 30), X("x", 30, 30), X(OUT, 0, 30))], 30))
    cases.append(Case("product", 64, [ops.Product(X("x", 0, 30), X("x", 30, 30), X(OUT, 0, 30))], 30))
    biased = ops.Softplus(X("x", 0, 33), X(OUT, 0, 33), "b")
    cases.append(Case("softplus", 33, [ops.Softplus(X("x", 0, 33), X(OUT, 0, 33))], 33, scale=12.0))
    cases.append(Case("softplus-bias", 33, [biased], 33, tensors={"b": tensor("b", _random(33))}, scale=4.0))
    for block, order in ((1, (4, 0, 2)), (20, (1, 0, 2))):
        arrange = ops.Arrange(X("x", 0, 60), X(OUT, 0, block * len(order)), block, order)
        cases.append(Case(f"arrange-{block}", 60, [arrange], block * len(order)))
    scaled = ops.ScaleColumns(X("x", 0, 33), X(OUT, 0, 33), "w")
    cases.append(Case("scale-columns", 33, [scaled], 33, tensors={"w": tensor("w", _random(33))}))
    cases.append(Case("scale", 33, [ops.Scale(X("x", 0, 33), X(OUT, 0, 33), -0.3)], 33))
    cases.append(Case("clamp", 33, [ops.Clamp(X("x", 0, 33), X(OUT, 0, 33), 0.7)], 33))
    places = {"places": tensor("places", _random(PAGES * PAGE, 33))}
    cases.append(Case("positions", 33, [ops.Scale(X("x", 0, 33), X(OUT, 0, 33), 1.0)], 33, tensors=places, positions="places"))
    cases.append(Case("softcap", 33, [ops.Softcap(X("x", 0, 33), X(OUT, 0, 33), 3.0)], 33, scale=5.0))
    cases.append(Case("types", 33, [ops.Scale(X("x", 0, 33), X(OUT, 0, 33), 1.0)], 33, tensors=places, types="places"))
    cases.append(Case("select", 33, [ops.Select(X("x", 0, 33), X(OUT, 0, 33))], 33))
    both: list[ops.Op] = [ops.Select(X("x", 0, 33), X("a", 0, 33)), ops.Select(X("x", 30, 40), X("b", 0, 40)), ops.Add(X("a", 0, 33), X("b", 7, 33), X(OUT, 0, 33))]
    cases.append(Case("select-both", 70, both, 33, {"a": 33, "b": 40}))
    return cases


def tempered() -> list[Case]:
    """A view with others beside it, in place."""
    cases = []
    for offset in (0, 1):
        steps: list[ops.Op] = [ops.Temper(X("x", 3, 25), 0.7, 8, offset), ops.Scale(X("x", 0, 40), X(OUT, 0, 40), 1.0)]
        cases.append(Case(f"temper-{offset}", 40, steps, 40))
    return cases


def streams() -> list[Case]:
    cases = []
    for n, m, width in ((4, 4, 20), (1, 3, 48), (3, 1, 7)):
        x, c, y, out = X("x", 0, n * width), X("x", n * width, n * m), X("x", n * width + n * m, m * width), X(OUT, 0, m * width)
        total = y.start + y.width
        cases.append(Case(f"blend-{n}-{m}", total, [ops.Blend(x, c, y, out, m, 0.5)], out.width))
        cases.append(Case(f"blend-{n}-{m}-in-place", total, [ops.Blend(x, c, y, y, m), ops.Scale(y, out, 1.0)], out.width))
    for width in (50, 64, 5):
        match = ops.Match(X("x", 0, width), X("x", width, width), X(OUT, 0, width), 0.9)
        cases.append(Case(f"match-{width}", 2 * width, [match], width))
    return cases


def sparse() -> list[Case]:
    return [Case(f"cutoff-{n}", n, [ops.Cutoff(X("x", 0, n), X(OUT, 0, n), d)], n, scale=3.0) for n, d in ((130, 1.64), (64, 0.3), (9, -0.5))]


def float_cases() -> list[Case]:
    """Everything but the integer products."""
    every = norms() + linears(["F32", "F16", "BF16"]) + ropes() + tempered() + attentions() + recurrences() + maps() + sparse() + streams() + routes()
    return every + experts(["F32", "F16", "BF16"]) + head_linears(["F32", "F16"]) + slices()


def rounded_products(case: Case, count: int, steps: Callable[[int], tuple[int, int]]) -> np.ndarray:
    """The products of a case with rounded activations, in float64: the rounding of the embeddings makes them exact.

    steps: columns that share a step and the largest number of steps, by the type of the matrix.
    """
    table = case.all_tensors()["table"].data.view(np.float32).reshape(-1, case.width)
    (whole,) = batches(count, count)

    def rounded(kind: int, x: View) -> np.ndarray:
        """The rows of a view as a matrix of that type meets them."""
        columns, largest = steps(kind)
        blocks = table.reshape(len(table), -1, columns)
        top = np.abs(blocks).max(-1, keepdims=True)
        codes = np.rint(blocks * (np.float32(largest) / top))
        return (codes.astype(np.float64) * (top / np.float32(largest))).reshape(table.shape)[whole.tokens][:, x.start : x.start + x.width]

    start, parts = 0, []
    for op in case.ops:
        if isinstance(op, ops.HeadLinear):
            stack = case.tensors[op.weight]
            matrices = by_id(stack.type).dequantize(stack.read()).reshape(stack.shape).astype(np.float64)
            result = np.zeros((len(whole.tokens), case.out))
            for x, out, w in zip(op.x.views, op.out.views, matrices, strict=True):
                result[:, out.start : out.start + out.width] = rounded(stack.type, x) @ w.T
            return result
        assert isinstance(op, ops.Linear)
        for weight, bias in zip(op.weights, op.biases, strict=True):
            w = case.tensors[weight]
            y = rounded(w.type, op.x) @ by_id(w.type).dequantize(w.read()).astype(np.float64).T
            if bias:
                y += case.tensors[bias].data.view(np.float32)
            if op.residual:
                y += table[whole.tokens][:, start : start + w.shape[0]]
            parts.append(y)
            start += w.shape[0]
    return np.concatenate(parts, 1)
