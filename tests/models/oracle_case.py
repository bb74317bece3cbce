"""The golden models and how to run one. A new architecture is a file in tests/golden/architectures and nothing here.

tests/golden/oracle has whole files, tests/golden/architectures recipes; $EDGERUN_ORACLE names a folder with more of the former.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from recipe import Recipe

from edgerun import formats
from edgerun.backends.executor import PAGE, Batch, Executor, Tensor
from edgerun.gguf import open_gguf
from edgerun.models import Spec, spec_from

GOLDEN = Path(__file__).parents[1] / "golden"
FOLDERS = {path.parent.name: path.parent for root in (GOLDEN / "oracle", Path(os.environ.get("EDGERUN_ORACLE", GOLDEN / "oracle"))) for path in sorted(root.glob("*/model.gguf"))}
RECIPES = {path.stem: path for path in sorted((GOLDEN / "architectures").glob("*.npz"))}
NAMES = [*FOLDERS, *RECIPES]


class OracleCase:
    """A tiny model with token sequences and the logits expected for them."""

    tensors: Mapping[str, Tensor]
    metadata: dict[str, Any]
    sequences: list[tuple[np.ndarray, np.ndarray, np.ndarray]]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    def read(self, name: str) -> np.ndarray:
        tensor = self.tensors[name]
        return formats.by_id(tensor.type).dequantize(tensor.read()).reshape(tensor.shape)

    def spec(self) -> Spec:
        return spec_from(self.metadata, self.shapes, self.read)

    def nmse(self, executor: Executor, chunk: int = 1000) -> float:
        """How far the executor's logits are from the golden ones, with the tokens fed `chunk` at a time."""
        off = total = 0.0
        for tokens, positions, golden in self.sequences:
            logits = run(executor, tokens, chunk)[positions].astype(np.float64)
            off += ((logits - golden) ** 2).sum()
            total += (golden.astype(np.float64) ** 2).sum()
        return off / total


class FileCase(OracleCase):
    """One of whole files: model.gguf and golden.npz in a folder."""

    def __init__(self, folder: Path) -> None:
        file = open_gguf(folder / "model.gguf")
        self.tensors, self.metadata = file.tensors, dict(file.metadata)
        with np.load(folder / "golden.npz") as golden:
            what = "logits" if "logits_0" in golden else "hidden"
            self.sequences = [
                (tokens, golden[f"pos_{i}"] if f"pos_{i}" in golden else np.arange(len(tokens)), golden[f"{what}_{i}"])
                for i in range(int(golden["n_seq"]))
                for tokens in (golden[f"tokens_{i}"],)
            ]


class RecipeCase(OracleCase):
    """One whose weights follow from their names."""

    def __init__(self, path: Path) -> None:
        recipe = Recipe.load(path)
        self.tensors, self.metadata, self.sequences = recipe.tensors(), recipe.metadata, recipe.sequences


def load(name: str) -> OracleCase:
    """The case of that name."""
    return FileCase(FOLDERS[name]) if name in FOLDERS else RecipeCase(RECIPES[name])


def run(executor: Executor, tokens: np.ndarray, chunk: int) -> np.ndarray:
    """The logits of every token of one fresh sequence, whose pages lie in reverse order."""
    pages = np.arange(executor.pages, dtype=np.int32)[::-1][None]
    assert len(tokens) <= executor.pages * PAGE
    logits = []
    for start in range(0, len(tokens), chunk):
        part = tokens[start : start + chunk]
        n = len(part)
        batch = Batch(
            tokens=part.astype(np.int32),
            positions=np.arange(start, start + n, dtype=np.int32),
            sequences=np.zeros(n, np.int32),
            tables=pages,
            outputs=np.arange(n, dtype=np.int32),
            lengths=np.array([len(tokens)], np.int32),
        )
        logits.append(executor.step(batch).copy())
    return np.concatenate(logits)


def together(texts: list[np.ndarray]) -> Batch:
    """One batch of two texts of at most a page each, whose pages do not follow each other."""
    return Batch(
        tokens=np.concatenate(texts).astype(np.int32),
        positions=np.concatenate([np.arange(len(t)) for t in texts]).astype(np.int32),
        sequences=np.repeat(np.arange(2), [len(t) for t in texts]).astype(np.int32),
        tables=np.array([[2], [0]], np.int32),
        outputs=np.arange(sum(map(len, texts)), dtype=np.int32),
    )
