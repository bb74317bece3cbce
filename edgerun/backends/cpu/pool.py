"""Worker threads that walk a program together with the caller. Knows no op; `kernels/run.py` says how they agree.

Between steps a worker polls for a moment (a token follows another), then sleeps on a condition until the bell rings again.
"""

from __future__ import annotations

import threading

import numpy as np

from edgerun import foreign
from edgerun.backends.cpu.kernels.control import BELL, CLAIMS, COUNT, DONES, PHASES, THREADS, YIELD
from edgerun.backends.cpu.native import Linked

PATIENCE = 1 << 14           # polls of about 50 ns: under a millisecond
LAST_EPOCH = (1 << 31) - 1   # epochs tag the upper half of a signed word, and their parity must alternate when they begin again


class Pool:
    """`threads` threads, the caller's among them, over one array of phases (int64 [count, 4])."""

    def __init__(self, phases: np.ndarray, linked: Linked, threads: int) -> None:
        count = len(phases)
        self.phases, self.epoch, self._asleep, self._stopped = phases, 0, 0, False
        self._counters = np.zeros((2 * count + 2, 8), np.int64)   # a cache line each
        self._control = np.zeros(16, np.int64)
        base = self._counters.ctypes.data
        self._control[[PHASES, COUNT, CLAIMS, DONES]] = phases.ctypes.data, count, base, base + 64 * count
        self._control[[THREADS, YIELD]] = threads, foreign.yield_address()
        self._address = self._control.ctypes.data
        self._step, self._work = linked.function("run-step", 2), linked.function("run-work", 3)
        self._wake = threading.Condition()
        self._workers = [threading.Thread(target=self._body, name=f"edgerun-{i}", daemon=True) for i in range(1, threads)]
        for worker in self._workers:
            worker.start()

    def step(self) -> None:
        """Walk the program once; all threads' writes are visible when it returns."""
        self.epoch = (self.epoch + 1) & LAST_EPOCH
        if self._asleep:
            with self._wake:
                self._wake.notify_all()
        self._step(self._address, self.epoch)

    def _body(self) -> None:
        last = seen = 0
        while last >= 0:
            last = self._work(self._address, last, PATIENCE)
            with self._wake:
                if last < 0 or self._stopped:
                    return
                self._asleep += 1
                # An epoch seen before that was not walked never rang: an interrupt came between the two.
                while self.epoch in (last, seen) and not self._stopped:
                    self._wake.wait()
                seen = self.epoch
                self._asleep -= 1

    def close(self) -> None:
        """End the workers. Calling it twice is harmless."""
        with self._wake:
            self._stopped = True
            self._control[BELL] = -1
            self._wake.notify_all()
        for worker in self._workers:
            worker.join()
        self._workers = []
