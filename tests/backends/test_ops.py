"""Every op of the vocabulary on every ISA of this CPU, against its float64 twin. The runs of a case share executors."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from suite import (
    COUNT,
    PAGES,
    USED,
    Case,
    MappedTensor,
    View,
    batches,
    case_of,
    compiling,
    experts,
    float_cases,
    head_linears,
    linears,
    mixed_linear,
    nmse,
    rounded_products,
    run,
    tensor,
    wide_linears,
)

from edgerun.backends import cpu, reference
from edgerun.backends.cpu.executor import kernels
from edgerun.backends.cpu.isa import AMX, Isa, multiplies_pairs
from edgerun.backends.cpu.kernels.frame import SPAN
from edgerun.backends.cpu.store import KernelStore
from edgerun.backends.executor import PAGE, Batch, Executor
from edgerun.formats import all_formats, by_id
from edgerun.graph import ops

CODED = sorted(f.name for f in all_formats().values() if f.packing.kind == "code")
FLOATS = ["F32", "F16", "BF16"]
COMPUTED = {"IQ1_M", "IQ1_S", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ3_S", "IQ3_XXS", "MXFP4", "NVFP4", "TQ1_0"}   # repacking is more than moving bits
STACKS = ["MXFP4", "Q4_0", "Q4_K", "Q6_K", "Q8_0"]   # one for each way to scale: the rest is that of products
PRODUCTS = [*linears(CODED), mixed_linear(), *wide_linears(), *head_linears(STACKS)]
EXACT = {"numerics": "exact", "kv": "f32"}
TURNS = 2   # runs of one executor, each with pages of its own


def fast_error(isa: Isa) -> float:
    """Of attention over random numbers that are kept as f16, which may be multiplied as bfloat16."""
    return 1e-5 if multiplies_pairs(isa) else 1e-6


def kernels_of(case: Case, numerics: str, kv: str) -> set[str]:
    """The kernels that the CPU backend needs for it."""
    return kernels(case.program(), case.all_tensors(), max_rows=1, numerics=numerics, kv=kv)


@pytest.fixture(scope="session")
def compile_all(request: pytest.FixtureRequest, shared_home: Path) -> Callable[[Isa], None]:
    """Compiles the kernels of all cases that were chosen, at once: sharing children is much faster than one by one."""
    chosen = [item for item in request.session.items if isinstance(item, pytest.Function) and item.path == Path(__file__)]
    cases = {case.name: case for item in chosen if isinstance(case := item.callspec.params.get("case"), Case)}

    @functools.cache
    def compile_for(isa: Isa) -> None:
        names = {name for case in cases.values() for numerics, kv in (("exact", "f32"), ("fast", "f16")) for name in kernels_of(case, numerics, kv)}
        kinds = [kv for item in chosen if (kv := item.callspec.params.get("kv"))]
        names |= {name for kv in kinds for numerics in ("exact", "fast") for name in kernels_of(case_of("attention-gqa"), numerics, kv)}
        KernelStore(isa, shared_home / "kernels").load(names)

    return compile_for


@pytest.fixture
def start(forced: Isa, compile_all: Callable[[Isa], None]) -> Iterator[Callable[..., Executor]]:
    """Compiles a case; every executor is closed at the end."""
    compile_all(forced)
    with compiling(cpu.compile, pages=TURNS * PAGES, max_rows=128) as compile:
        yield compile


@functools.cache
def truth_of(name: str, rows: int = 101) -> np.ndarray:
    case, pages = case_of(name), -(-rows // PAGE)
    with closing(reference.compile(case.program(), case.all_tensors(), pages=pages, max_rows=rows)) as executor:
        return run(executor, rows, rows, pages=pages)


@pytest.mark.parametrize("case", float_cases(), ids=lambda c: c.name)
def test_float_op(case: Case, start: Callable[..., Executor], forced: Isa) -> None:
    one, two = start(case, **EXACT), start(case, threads=2, **EXACT)
    exact = run(one, 101, 101)
    assert nmse(exact, truth_of(case.name)) < case.bound
    for executor, chunk, turn in ((two, 101, 0), (one, 37, 1), (two, 1, 1)):
        assert np.array_equal(run(executor, 101, chunk, turn), exact), chunk
    if case.caches:
        fast = run(start(case), 101, 101)
        assert nmse(fast, truth_of(case.name)) < fast_error(forced)
        for threads, chunk in ((2, 37), (1, 1)):
            assert np.array_equal(run(start(case, threads=threads), 101, chunk), fast), chunk


LONG = 2 * SPAN + 90   # positions in three spans
LONG_PAGES = -(-LONG // PAGE)


@pytest.mark.parametrize("numerics", [EXACT, {}], ids=["exact", "fast"])
@pytest.mark.parametrize("name", ["attention-gqa", "attention-window300", "attention-chunk300", "attention-many", "attention-alibi"])
def test_attention_over_several_spans(name: str, numerics: dict[str, str], start: Callable[..., Executor], forced: Isa) -> None:
    """The same bits whether one thread has all spans or each is a chunk, and whatever else is in the batch."""
    case = case_of(name)
    many = {"pages": TURNS * LONG_PAGES, "max_rows": LONG}
    whole = run(start(case, **numerics, **many), LONG, LONG, pages=LONG_PAGES)
    assert nmse(whole, truth_of(name, LONG)) < (case.bound if numerics else fast_error(forced))
    for threads, chunk, max_rows in ((2, 150, LONG), (1, 31, LONG), (2, 2, LONG), (1, 3, 4)):
        executor = start(case, **numerics, **many | {"max_rows": max_rows}, threads=threads)
        for batch in batches(LONG, chunk, 0, LONG_PAGES):
            got = executor.step(batch)
            np.testing.assert_array_equal(got, whole[batch.positions])


def test_attention_over_whole_texts(start: Callable[..., Executor]) -> None:
    """The same bits for a text of several spans by itself, for any number of threads, and with other texts around it."""
    case, many = case_of("attention-whole"), {"pages": TURNS * LONG_PAGES, "max_rows": 2 * LONG}
    (text,), short = batches(LONG, LONG, 0, LONG_PAGES), 40
    whole = start(case, **EXACT, **many).step(text).copy()
    assert nmse(whole, truth_of(case.name, LONG)) < case.bound
    assert np.array_equal(start(case, **EXACT, **many | {"max_rows": LONG}, threads=2).step(text), whole)
    tables = np.concatenate([LONG_PAGES + text.tables, text.tables])
    sequences = np.repeat(np.array([0, 1], np.int32), (short, LONG))
    both = Batch(*(np.concatenate([a[:short], a]) for a in (text.tokens, text.positions)), sequences, tables, np.arange(short + LONG, dtype=np.int32))
    together = start(case, **EXACT, **many, threads=2).step(both)
    assert np.array_equal(together[short:], whole)
    first = Batch(text.tokens[:short], text.positions[:short], text.sequences[:short], text.tables, text.outputs[:short])
    assert np.array_equal(together[:short].copy(), start(case, **EXACT, **many).step(first))


# Largest error of attention over random numbers, which nothing spreads already, unlike those of models.
KINDS = {"bf16": 1e-5, "f16:f32": 1e-6, "q8_0:q4_0": 0.02, "q4_0:q8_0": 0.02}


@pytest.mark.parametrize("numerics", ["exact", "fast"])
@pytest.mark.parametrize("kv", KINDS)
def test_kinds_of_keys_and_values(kv: str, numerics: str, start: Callable[..., Executor], forced: Isa) -> None:
    case = case_of("attention-gqa")
    whole = run(start(case, numerics=numerics, kv=kv), 101, 101)
    assert nmse(whole, truth_of(case.name)) < max(KINDS[kv], fast_error(forced) if numerics == "fast" else 0.0)
    for threads, chunk in ((2, 37), (1, 1)):
        assert np.array_equal(run(start(case, numerics=numerics, kv=kv, threads=threads), 101, chunk), whole)


@pytest.mark.parametrize("kv", ["f32", "f16", "q8_0:q4_0"])
def test_what_pages_held_before(kv: str, start: Callable[..., Executor]) -> None:
    """Positions that no text has yet may hold anything, numbers that are none too."""
    case = case_of("attention-gqa")
    clean, dirty = start(case, kv=kv), start(case, kv=kv)
    place = dirty._phases.kv[0]
    ctypes.memset(place.keys, 0xFF, TURNS * PAGES * place.page)
    for rows in (1, 2, 101):
        assert np.array_equal(run(dirty, rows, rows), run(clean, rows, rows)), rows


@functools.cache
def rounded_truth_of(name: str, isa: Isa) -> np.ndarray:
    """The products of the weights with the rounded activations: the quantization of the embeddings makes them exact."""
    def steps(kind: int) -> tuple[int, int]:
        if isa is AMX:
            return (256, 1023) if by_id(kind).packing.integral else (32, 511)
        return (32 if isa.leans and by_id(kind).packing.integral else 16), 127

    return rounded_products(next(case for case in PRODUCTS if case.name == name), 101, steps)


@pytest.mark.parametrize("case", PRODUCTS, ids=lambda c: c.name)
def test_integer_product(case: Case, start: Callable[..., Executor], forced: Isa) -> None:
    """101 rows: groups of 16 and some rows by themselves; where there are many columns, groups go to different chunks."""
    one, two = start(case), start(case, threads=2)
    fast = run(one, 101, 101)
    assert nmse(fast, rounded_truth_of(case.name, forced)) < 1e-11
    for executor, chunk, turn in ((two, 101, 0), (one, 7, 1), (two, 37, 1), (two, 1, 1)):
        assert np.array_equal(run(executor, 101, chunk, turn), fast), chunk


@pytest.mark.parametrize("case", [*PRODUCTS, *linears(FLOATS), *experts([*STACKS, "F16"])], ids=lambda c: c.name)
def test_as_the_file_has_it(case: Case, start: Callable[..., Executor]) -> None:
    """The same bits from the file's own bytes, of which nothing beyond the last is touched, and while rows are repacked, however they are cut."""
    mapped = replace(case, tensors={name: MappedTensor(t.name, t.shape, t.type, t.data) for name, t in case.tensors.items()})
    copied = {t.name for t in cpu.mapped(mapped.program(), mapped.all_tensors())[1]}
    matrices = {name for op in case.ops if isinstance(op, ops.Linear | ops.HeadLinear | ops.Experts) for name in op.weights}
    assert copied == {name for name in matrices if by_id(case.tensors[name].type).name in COMPUTED}
    packed, one, two = start(case), start(mapped, repack="never"), start(mapped, threads=2, repack="never")
    later = start(mapped, threads=2, repack="later")
    assert not any(mapped.tensors[name].reads for name in matrices - copied)
    want = run(packed, 101, 101)
    for executor, chunk, turn in ((one, 101, 0), (two, 101, 0), (one, 7, 1), (two, 1, 1), (later, 101, 0), (later, 37, 1), (later, 101, 0)):
        assert np.array_equal(run(executor, 101, chunk, turn), want, equal_nan=True), chunk


@pytest.mark.parametrize("case", experts(STACKS), ids=lambda c: c.name)
def test_integer_experts(case: Case, start: Callable[..., Executor]) -> None:
    """What `Linear` makes of the matrix of each row's experts, to the bit, however rows are cut."""
    (route, op), (stack, bias) = case.ops[:2], (case.tensors["w"], case.tensors["b"])
    assert isinstance(route, ops.Route)
    assert isinstance(op, ops.Experts)
    out = View("logits", 2 * USED, USED * 40)
    alone = Case("experts", case.width, [route, ops.Experts(op.x, op.choice, out, COUNT, op.cols, ("w",), ("b",)), ops.Scale(op.choice, View("logits", 0, 2 * USED), 1.0)], 2 * USED + out.width)
    alone.tensors, alone.buffers = {"w": stack, "b": bias}, case.buffers
    values, size = bias.data.view(np.float32).reshape(COUNT, 40), stack.data.size // COUNT
    matrices = {f"w{i}": replace(stack, name=f"w{i}", shape=stack.shape[1:], data=stack.data.reshape(COUNT, 40, -1)[i]) for i in range(COUNT)}
    assert all(m.data.size == size for m in matrices.values())
    biases = {f"b{i}": tensor(f"b{i}", values[i]) for i in range(COUNT)}
    linear = Case("linear", case.width, [ops.Linear(op.x, View("logits", 0, COUNT * 40), tuple(matrices), tuple(biases))], COUNT * 40, tensors=matrices | biases)
    products = run(start(linear), 101, 101).reshape(101, COUNT, 40)
    got = run(start(alone), 101, 101)
    ids = got[:, :USED].astype(int)
    assert len(np.unique(ids)) == COUNT
    np.testing.assert_array_equal(got[:, 2 * USED :].reshape(101, USED, 40), np.take_along_axis(products, ids[..., None], 1))
    one, two = start(case), start(case, threads=2)
    whole = run(one, 101, 101)
    for executor, chunk, turn in ((two, 101, 0), (one, 7, 1), (two, 37, 1), (two, 1, 1)):
        assert np.array_equal(run(executor, 101, chunk, turn), whole), chunk
