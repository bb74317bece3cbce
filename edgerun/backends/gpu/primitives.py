"""What kernels are made of, tried one by one: packed codes, halves, functions, memory that lanes share. Knows no op."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgerun.backends.gpu.device import Device
from edgerun.backends.gpu.pipelines import Pipelines, Range
from edgerun.backends.gpu.queue import Queue
from edgerun.backends.gpu.source import kernel

LANES = 64


def primitives(device: Device) -> Iterator[str]:
    """What is computed wrongly, a line each."""
    queue, random = Queue(device), np.random.default_rng(0)
    words = random.integers(0, 1 << 32, LANES, np.uint32)
    numbers = np.concatenate([random.standard_normal(LANES - 8), [-1e4, -90, -20, 0, 20, 88, 1e4, 1e-8]]).astype(np.float32)
    arena = np.zeros(16 * LANES, np.float32)
    arena[:LANES] = numbers
    shared = {0: queue.buffer(arena.nbytes, "a trial"), 1: queue.buffer(16, "a trial"), 2: queue.buffer(16, "a trial")}
    codes = queue.buffer(words.nbytes, "a trial")
    pipelines, source = Pipelines(queue, shared), kernel("primitives")
    job = pipelines.pipeline(source), pipelines.group(source, {"turns": 3}, {4: Range(codes, 0, words.nbytes)}), 1, 1, 1
    pipelines.upload()
    queue.write(shared[0], 0, arena)
    queue.write(codes, 0, words)
    queue.submit([job])
    got = queue.read(shared[0], 0, arena.nbytes).view(np.float32).reshape(16, LANES)[1:]
    for (name, want, limit), row in zip(_wanted(words, numbers.astype(np.float64)), got, strict=False):
        error = np.abs(row - want) / np.maximum(np.abs(want), 1)
        if not np.all(error <= limit):
            yield f"{name}: error {np.nanmax(error):.0e}"


def _wanted(words: np.ndarray, x: np.ndarray) -> Iterator[tuple[str, np.ndarray, float]]:
    """In the order of `wgsl/primitives.wgsl`: what is tried, the right numbers, the largest error."""
    yield "unpack4xI8", words.view(np.int8).reshape(LANES, 4).astype(np.float64) @ [1, 256, 3, 5], 0
    halves = (words & 0xBFFFBFFF).view(np.float16).reshape(LANES, 2).astype(np.float64)   # no infinities
    yield "unpack2x16float", halves.sum(1), 1e-6
    yield "pack2x16float", x.astype(np.float16).astype(np.float64), 1e-3
    yield "extractBits of signed numbers", (words.view(np.int32) << 8 >> 24).astype(np.float64), 0
    yield "exp", np.exp(np.minimum(x, 0)), 1e-5
    yield "tanh", np.tanh(np.clip(x, -15, 15)), 1e-5
    yield "sqrt", np.sqrt(np.abs(x)), 1e-5
    yield "memory of a workgroup", np.full(LANES, x.sum()), 1e-3
    yield "variables in loops", np.full(LANES, 3.0), 0
