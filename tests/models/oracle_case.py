"""The golden models of tests/golden/oracle, and how to run one. A new architecture is a folder there and nothing here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgerun import formats
from edgerun.backends.executor import PAGE, Batch, Executor
from edgerun.gguf import GGUF, open_gguf
from edgerun.models import Spec, spec_from

FOLDER = Path(__file__).parents[1] / "golden" / "oracle"
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/model.gguf"))


class OracleCase:
    """A model file with token sequences and the logits expected for them."""

    def __init__(self, name: str) -> None:
        self.gguf: GGUF = open_gguf(FOLDER / name / "model.gguf")
        self.tensors = self.gguf.tensors
        self.metadata: dict[str, Any] = dict(self.gguf.metadata)
        self.shapes = {name: tensor.shape for name, tensor in self.tensors.items()}
        with np.load(FOLDER / name / "golden.npz") as golden:
            self.sequences = [(golden[f"tokens_{i}"], golden[f"pos_{i}"], golden[f"logits_{i}"]) for i in range(int(golden["n_seq"]))]

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
        )
        logits.append(executor.step(batch).copy())
    return np.concatenate(logits)
