"""Every architecture over its golden logits, on every backend: all at once, in chunks, token by token."""

import dataclasses
import importlib
import typing

import numpy as np
import pytest
from oracle_case import OracleCase, load, run, together

from edgerun.errors import ModelError
from edgerun.graph.lower import lower

# Backend module, and the options under which it must be exact.
BACKENDS = [
    ("edgerun.backends.reference", {}),
    ("edgerun.backends.cpu", {"threads": 1, "numerics": "exact", "kv": "f32"}),
]
LIMIT = 1e-6
NOISE = 1e-11   # what float32 rounding in the golden logits themselves amounts to


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend[0].rpartition(".")[2])
def compile(request):
    name, options = request.param
    module = pytest.importorskip(name)
    return lambda program, tensors: module.compile(program, tensors, pages=3, max_rows=512, **options)


@pytest.mark.parametrize("chunk", [1000, 7, 1])
def test_logits_equal_the_golden_ones(case: OracleCase, compile, chunk: int) -> None:
    program = lower(case.spec(), case.shapes)
    if chunk < 1000 and not program.causal:
        pytest.skip("an encoder reads a text at once")
    executor = compile(program, case.tensors)
    assert case.nmse(executor, chunk) < LIMIT
    executor.close()


def test_the_reference_is_far_below_the_limit(case: OracleCase) -> None:
    reference = importlib.import_module("edgerun.backends.reference")
    assert case.nmse(reference.compile(lower(case.spec(), case.shapes), case.tensors, pages=2)) < NOISE


def test_every_component_of_a_spec_matters(case: OracleCase) -> None:
    """Whatever single part of the spec is left out or swapped, the file is refused or the logits are wrong."""
    reference = importlib.import_module("edgerun.backends.reference")
    tokens, positions, golden = case.sequences[-1]
    tried, survivors = 0, []
    for what, mutant in mutations(case.spec()):
        tried += 1
        try:
            spec = mutant()
            executor = reference.compile(lower(spec, case.shapes), case.tensors, pages=2)
            logits = run(executor, tokens, len(tokens))[positions]
        except (ModelError, AssertionError):
            continue
        nmse = float(((logits - golden) ** 2).sum() / (golden**2).sum())
        if nmse < NOISE:
            survivors.append(what)
    assert tried > 4
    assert not survivors


def mutations(node):
    """Every (path, make) where make() is `node` with one thing below it changed; the same layer changes wherever it stands."""
    hints = typing.get_type_hints(type(node))
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)

        def put(make, name=field.name):
            return lambda: dataclasses.replace(node, **{name: make()})

        for other in alternatives(field, hints[field.name], value):
            yield f"{field.name}={other}", put(lambda other=other: other)
        if dataclasses.is_dataclass(value):
            for what, make in mutations(value):
                yield f"{field.name}.{what}", put(make)
        elif isinstance(value, tuple) and dataclasses.is_dataclass(value[0]):
            for kind in dict.fromkeys(value):
                for what, make in mutations(kind):
                    yield f"{field.name}[{value.index(kind)}].{what}", put(lambda make=make, kind=kind, value=value: tuple(make() if item == kind else item for item in value))


def alternatives(field, hint, value):
    """Other values of one field: its default, None where it may be, every other choice of a Literal, the other bool."""
    parts = (hint, *typing.get_args(hint))
    others = [] if field.default is dataclasses.MISSING else [field.default]
    others += [None] if type(None) in parts else []
    others += [choice for part in parts if typing.get_origin(part) is typing.Literal for choice in typing.get_args(part)]
    others += [not value] if isinstance(value, bool) else []
    return [other for other in dict.fromkeys(others) if other != value]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("llama", "rope=None"),
        ("llama-yarn", "rope.scaling=None"),
        ("llama-rope3", "rope.divisors=None"),
        ("qwen3", "qk_norm=None"),
        ("gemma3", "layers[0].attention.window=None"),
        ("gemma3", "layers[5].post_attn_norm=None"),
        ("gemma3", "embedding.scale=1.0"),
        ("gemma2", "head.softcap=None"),
        ("granite", "residual_scale=1.0"),
        ("command-r", "parallel=False"),
        ("bloom", "alibi=None"),
        ("bloom", "embedding.norm=None"),
        ("mpt", "clamp=None"),
        ("gpt2", "embedding.positions=None"),
        ("stablelm-2-12b", "qk_norm.over=head"),
    ],
)
def test_mutations_reach_every_component(name: str, part: str) -> None:
    assert any(part in what for what, _ in mutations(load(name).spec()))


def test_two_sequences_in_one_batch_do_not_meet(case: OracleCase, compile) -> None:
    executor = compile(lower(case.spec(), case.shapes), case.tensors)
    tokens = [case.sequences[0][0], case.sequences[1][0]]
    alone = [run(executor, t, 1000) for t in tokens]
    np.testing.assert_allclose(executor.step(together(tokens)), np.concatenate(alone), rtol=1e-3, atol=1e-4)
