"""Weights on their way to a device: what of them the memory of the host holds at a time."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from edgerun.backends.gpu.bandwidth import Even
from edgerun.backends.gpu.queue import Queue
from edgerun.backends.gpu.weights import Weights
from edgerun.formats import all_formats

pytestmark = pytest.mark.gpu

MOST = 64 << 20
THREADS = 64   # of a large machine


class Counting(Queue):
    """Keeps how many bytes were written before it waited for the device to take them."""

    staged = 0

    def wait(self) -> None:
        self.staged = max(self.staged, self._staged)
        super().wait()


@pytest.mark.parametrize("name", sorted(fmt.name for fmt in all_formats().values()))
def test_little_of_them_is_in_memory_at_a_time(name: str, gpu_device: Any) -> None:
    """NumPy tells tracemalloc what it takes; what wgpu stages is counted where it is given."""
    queue, matrix = Counting(gpu_device), Even("w", name, 4096)
    weights = Weights(queue, {f"w{i}": matrix for i in range(6)}, [(f"w{i}",) for i in range(6)], [])
    tracemalloc.start()
    try:
        weights.load(THREADS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert queue.staged > 0
    assert peak + queue.staged <= MOST, (peak >> 20, queue.staged >> 20)
