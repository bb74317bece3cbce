"""A whole model in miniature: two blocks with rope, grouped heads and a gated feed-forward, in any block format of 32 columns."""

from __future__ import annotations

import numpy as np
from suite import MemoryTensor, tensor

from edgerun.backends.executor import Batch
from edgerun.graph import ops
from edgerun.graph.ops import View
from edgerun.graph.program import Cache, Program
from edgerun.graph.selected import selected

VOCAB, WIDTH, HEADS, KV_HEADS, HEAD, HIDDEN = 80, 64, 4, 2, 16, 96
Q, KV = HEADS * HEAD, KV_HEADS * HEAD
FREQUENCIES = tuple(100.0 ** (-i / 8) for i in range(8))


def model(fmt: str = "Q8_0", window: int | None = None, layers: int = 2) -> tuple[Program, dict[str, MemoryTensor]]:
    """A program and its tensors; the matrices of the blocks are in the format."""
    generator = np.random.default_rng(11)

    def random(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape).astype(np.float32)

    x, h, qkv, att, gu, act = (View(name, 0, width) for name, width in _BUFFERS.items() if name != "logits")
    logits = View("logits", 0, VOCAB)
    steps: list[ops.Op] = [ops.Embed(x, "table")]
    tensors = {"table": tensor("table", random(VOCAB, WIDTH)), "norm": tensor("norm", 1 + random(WIDTH) / 4)}
    for i in range(layers):
        shapes = {"q": (Q, WIDTH), "k": (KV, WIDTH), "v": (KV, WIDTH), "o": (WIDTH, Q), "gate": (HIDDEN, WIDTH), "up": (HIDDEN, WIDTH), "down": (WIDTH, HIDDEN)}
        tensors |= {f"{name}{i}": tensor(f"{name}{i}", random(*shape) / shape[1] ** 0.5, fmt) for name, shape in shapes.items()}
        steps += [
            ops.Norm(x, h, "norm", 1e-5),
            ops.Linear(h, qkv, (f"q{i}", f"k{i}", f"v{i}"), (None, None, None)),
            ops.Rope(qkv.part(0, Q + KV), HEADS + KV_HEADS, FREQUENCIES, "halves"),
            ops.Store(qkv.part(Q, KV), qkv.part(Q + KV, KV), i),
            ops.Attention(qkv.part(0, Q), att, i, HEADS, HEAD**-0.5, window),
            ops.Linear(att, x, (f"o{i}",), (None,), x),
            ops.Norm(x, h, "norm", 1e-5),
            ops.Linear(h, gu, (f"gate{i}", f"up{i}"), (None, None)),
            ops.Gate(gu.part(0, HIDDEN), gu.part(HIDDEN, HIDDEN), act, "silu"),
            ops.Linear(act, x, (f"down{i}",), (None,), x),
        ]
    steps += [ops.Select(x, h), ops.Norm(h, h, "norm", 1e-5), ops.Hidden(h), ops.Linear(h, logits, ("table",), (None,))]
    program = Program(tuple(steps), dict(_BUFFERS), (Cache(KV_HEADS, HEAD, HEAD, window),) * layers, frozenset(tensors), VOCAB)
    return selected(program), tensors


def batch(rows: list[tuple[int, int, int]], tables: list[list[int]], outputs: list[int] | None = None) -> Batch:
    """rows: (sequence, position, token)."""
    sequences, positions, tokens = (np.array(column, np.int32) for column in zip(*rows, strict=True))
    return Batch(tokens, positions, sequences, np.array(tables, np.int32), np.array(range(len(rows)) if outputs is None else outputs, np.int32))


def text(length: int, sequence: int = 0, seed: int = 5, start: int = 0) -> list[tuple[int, int, int]]:
    """Rows of one sequence of random tokens, from position `start` on."""
    tokens = np.random.default_rng(seed).integers(0, VOCAB, start + length).tolist()
    return [(sequence, i, tokens[i]) for i in range(start, start + length)]


_BUFFERS = {"x": WIDTH, "h": WIDTH, "qkv": Q + 2 * KV, "att": Q, "gu": 2 * HIDDEN, "act": HIDDEN, "logits": VOCAB}
