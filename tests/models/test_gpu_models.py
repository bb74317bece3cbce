"""The architectures that the GPU backend computes over their golden logits, on the device there is; and real models next to the CPU."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracle_case import NAMES, OracleCase, load, run, together

from edgerun.backends import cpu, reference
from edgerun.backends.executor import Batch, Executor
from edgerun.blueprint import Blueprint, Options
from edgerun.formats import by_name
from edgerun.gguf import open_gguf
from edgerun.graph.lower import lower

sys.path.insert(0, str(Path(__file__).parents[1] / "backends"))
from suite import MemoryTensor

pytestmark = pytest.mark.gpu

ARCHITECTURES = {"llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "granite", "olmo2", "smollm3", "qwen3moe", "gpt-oss"}
CASES = [name for name in NAMES if load(name).metadata["general.architecture"] in ARCHITECTURES]
LIMIT = 1e-6


def compiled(program: Any, tensors: Any, device: Any, **options: Any) -> Executor:
    from edgerun.backends import gpu

    return gpu.compile(program, tensors, device=device, **{"pages": 3, "max_rows": 512, "numerics": "exact", "kv": "f32"} | options)


def nmse(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a - b) ** 2).sum() / (b.astype(np.float64) ** 2).sum())


def test_every_architecture_has_a_case() -> None:
    assert {load(name).metadata["general.architecture"] for name in CASES} == ARCHITECTURES


@pytest.mark.parametrize("name", CASES)
def test_logits_equal_the_golden_ones(name: str, gpu_device: Any) -> None:
    case = load(name)
    with closing(compiled(lower(case.spec(), case.shapes), case.tensors, gpu_device)) as executor:
        for chunk in (1000, 7):
            assert case.nmse(executor, chunk) < LIMIT, chunk


def in_integers(case: OracleCase) -> dict[str, Any]:
    """The tensors of a case, with matrices as Q8_0 where their rows fill blocks."""
    tensors: dict[str, Any] = dict(case.tensors)
    for name, tensor in case.tensors.items():
        if len(tensor.shape) > 1 and tensor.shape[-1] % 32 == 0:
            values = case.read(name)
            tensors[name] = MemoryTensor(name, tensor.shape, by_name("Q8_0").id, by_name("Q8_0").quantize(values.reshape(-1, tensor.shape[-1]).astype(np.float32)))
    return tensors


@pytest.mark.parametrize("name", ["llama", "gemma3", "qwen3moe", "gpt-oss-ramp"])
def test_packed_weights(name: str, gpu_device: Any) -> None:
    """As a user has it: keys and values as f16."""
    case = load(name)
    program, tensors, tokens = lower(case.spec(), case.shapes), in_integers(case), case.sequences[1][0]
    with closing(reference.compile(program, tensors, pages=3)) as truth, closing(compiled(program, tensors, gpu_device, numerics="fast", kv="f16")) as executor:
        want = run(truth, tokens, 1000)
        for chunk in (5, 1000):
            assert nmse(run(executor, tokens, chunk), want) < 1e-5, chunk


def test_two_sequences_in_one_batch_do_not_meet(gpu_device: Any) -> None:
    case = load("gemma3")
    tokens = [case.sequences[0][0], case.sequences[1][0]]
    with closing(compiled(lower(case.spec(), case.shapes), case.tensors, gpu_device)) as executor:
        alone = [run(executor, t, 1000) for t in tokens]
        np.testing.assert_allclose(executor.step(together(tokens)), np.concatenate(alone), rtol=1e-3, atol=1e-4)


def continued(executor: Executor, prompt: list[int], ids: list[int] | None, count: int) -> np.ndarray:
    """Logits behind a prompt and behind each of `count` - 1 more tokens: those of `ids`, or the best ones."""
    table, rows, logits = np.arange(executor.pages, dtype=np.int32)[None], list(prompt), []
    at = 0
    for i in range(count):
        n = len(rows)
        positions = np.arange(at, at + n, dtype=np.int32)
        batch = Batch(np.array(rows, np.int32), positions, np.zeros(n, np.int32), table, np.array([n - 1], np.int32))
        logits.append(executor.step(batch)[0].copy())
        at, rows = at + n, [int(logits[-1].argmax()) if ids is None else ids[i]]
    return np.array(logits)


PROMPT = "Write a short story about a lighthouse keeper who finds a strange bottle on the beach one winter morning."


@pytest.mark.parametrize(("numerics", "count", "limit"), [("fast", 64, 1e-3), ("exact", 16, 1e-5)])
def test_the_same_text_as_on_the_cpu(numerics: str, count: int, limit: float, smollm2: Path, gpu_device: Any) -> None:
    """Each best token is the CPU's best one, unless its two best are nearer than what the bound lets a logit be off."""
    from edgerun.api import load_tokenizer

    file = open_gguf(smollm2)
    blueprint = Blueprint.of(file, Options())
    prompt = list(load_tokenizer(smollm2).encode(PROMPT))
    with closing(cpu.compile(blueprint.program, file.tensors, pages=2, max_rows=64, numerics=numerics, threads=2)) as executor:
        want = continued(executor, prompt, None, count)
    ids = want.argmax(1)
    best = np.sort(want, 1)[:, -2:]
    with closing(compiled(blueprint.program, file.tensors, gpu_device, pages=2, max_rows=64, numerics=numerics, kv="f16")) as executor:
        got = continued(executor, prompt, ids.tolist(), count)
    assert nmse(got, want) < limit
    assert np.all((got.argmax(1) == ids) | (best[:, 1] - best[:, 0] < np.sqrt(limit * (want**2).mean(1))))
