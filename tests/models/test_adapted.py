"""Every architecture with all of its matrices adapted: as ops beside the weights it computes what it does with other weights."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from oracle_case import OracleCase, load, run
from recipe import MadeTensor

from edgerun.backends.executor import Tensor
from edgerun.graph import ops
from edgerun.graph.adapted import Pair, adapted
from edgerun.graph.lower import lower
from edgerun.graph.program import Program

RANK = 3   # no multiple of anything


def both_ways(case: OracleCase) -> tuple[Program, dict[str, Tensor], Program, dict[str, Tensor]]:
    """The program beside pairs, and the plain one over weights that hold them."""
    program = lower(case.spec(), case.shapes)
    tables = {op.table for op in program.ops if isinstance(op, ops.Embed)}
    matrices = [name for op in program.ops if isinstance(op, ops.Linear | ops.Experts) for name in op.weights if name not in tables]
    tied = {name for op in program.ops if isinstance(op, ops.Linear) for name in op.weights} & tables
    draw, pairs = np.random.default_rng(1), {}
    beside, instead = dict(case.tensors), dict(case.tensors)
    for name in dict.fromkeys([*matrices, *(tables - tied)]):
        w = case.read(name)
        if w.ndim < 2:
            continue
        scale = 0.3 * np.sqrt((w**2).mean() / RANK)
        a, b = draw.normal(0, 1, (*w.shape[:-2], RANK, w.shape[-1])), draw.normal(0, scale, (*w.shape[:-1], RANK))
        a, b = a.astype(np.float32), b.astype(np.float32)
        instead[name] = MadeTensor(name, (w.astype(np.float64) + b.astype(np.float64) @ a).astype(np.float32))
        a, b = (b, a.T) if name in tables else (a, b)
        beside |= {f"{name}.a": MadeTensor(f"{name}.a", a), f"{name}.b": MadeTensor(f"{name}.b", b)}
        pairs[name] = Pair(f"{name}.a", f"{name}.b", RANK)
    changed, used = adapted(program, case.shapes, pairs)
    assert used == pairs.keys()
    assert changed.tensors - program.tensors == beside.keys() - case.tensors.keys()
    return changed, beside, program, instead


def off(case: OracleCase, got: tuple[Program, dict[str, Tensor]], want: tuple[Program, dict[str, Tensor]], backend: str, **options: object) -> float:
    tokens = max((tokens for tokens, *_ in case.sequences), key=len)[:64]
    reference, module = (importlib.import_module(f"edgerun.backends.{name}") for name in ("reference", backend))
    wanted = run(reference.compile(*want, pages=2), tokens, 1000).astype(np.float64)
    executor = module.compile(*got, pages=2, max_rows=64, **options)
    found = run(executor, tokens, 1000).astype(np.float64)
    executor.close()
    return float(((found - wanted) ** 2).sum() / (wanted**2).sum())


def test_ops_beside_the_weights_are_other_weights(case: OracleCase) -> None:
    changed, beside, program, instead = both_ways(case)
    assert off(case, (changed, beside), (program, instead), "reference") < 1e-11
    assert off(case, (program, dict(case.tensors)), (program, instead), "reference") > 1e-3


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2", "llama4", "qwen3next", "gemma3n"])
@pytest.mark.parametrize(("numerics", "limit"), [("exact", 1e-9), ("fast", 1e-3)])
def test_on_the_cpu(name: str, numerics: str, limit: float) -> None:
    case = load(name)
    changed, beside, program, instead = both_ways(case)
    assert off(case, (changed, beside), (program, instead), "cpu", threads=2, numerics=numerics, kv="f32") < limit


def test_nothing_changes_without_pairs() -> None:
    case = load("llama")
    program = lower(case.spec(), case.shapes)
    assert adapted(program, case.shapes, {}) == (program, frozenset())


def test_a_table_that_is_the_output_too_is_adapted_where_it_is_looked_up() -> None:
    case = load("llama-tied")
    name = "token_embd.weight"
    program, used = adapted(lower(case.spec(), case.shapes), case.shapes, {name: Pair("a", "b", RANK)})
    assert used == {name}
    assert [op.table for op in program.ops if isinstance(op, ops.Embed)] == [name, "a"]
    assert [op.out.buffer for op in program.ops if isinstance(op, ops.Linear) and op.weights == ("b",)] == ["x"]
