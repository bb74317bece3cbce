"""The pool of threads: every chunk once, phases in order, whoever comes late, sleeps, or loses its core."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numba
import numpy as np
import pytest
from objects import I64, Emitter, kernel

from edgerun.backends.cpu import isa as isas
from edgerun.backends.cpu import pool as pools
from edgerun.backends.cpu.kernels import run
from edgerun.backends.cpu.kernels.control import BELL, CLAIMS, DONES
from edgerun.backends.cpu.native import Linked
from edgerun.backends.cpu.pool import Pool
from edgerun.backends.cpu.store import KernelStore

PHASES, CHUNKS = 40, 7
MASK = (1 << 64) - 1


def _mix(e: Emitter, args: object, chunk: object) -> None:
    """out[chunk] = sum of the words before + chunk + 1; and one more run of this chunk. args: before, out, runs, count."""
    total = e.sum_of(e.word(args, 0), e.word(args, 3))
    e.put(e.word(args, 1), chunk, e.b.add(total, e.b.add(chunk, I64(1))))
    e.put(e.word(args, 2), chunk, e.b.add(e.word(e.word(args, 2), chunk), I64(1)))


def _who(e: Emitter, args: object, chunk: object) -> None:
    """out[chunk] = who does it, after a while. args: out."""
    e.call("usleep", I64(2000))
    e.put(e.word(args, 0), chunk, e.call("pthread_self"))


class Machine:
    """A program of phases, each of which adds up what the phase before left: an early, lost or repeated chunk changes the result."""

    def __init__(self, linked: Linked, threads: int) -> None:
        self.values = np.zeros((PHASES + 1, CHUNKS), np.uint64)
        self.runs = np.zeros((PHASES, CHUNKS), np.int64)
        self.blocks = [np.array([self.values[i].ctypes.data, self.values[i + 1].ctypes.data, self.runs[i].ctypes.data, CHUNKS]) for i in range(PHASES)]
        self.table = np.zeros((PHASES, 4), np.int64)
        self.table[:] = [(linked.addresses["mix"], block.ctypes.data, CHUNKS, CHUNKS) for block in self.blocks]
        self.pool, self.steps = Pool(self.table, linked, threads), 0

    def step(self) -> None:
        """One step from numbers of its own, and what must come out of it."""
        self.steps += 1
        self.values[0] = start = [self.steps * (i + 1) for i in range(CHUNKS)]
        self.pool.step()
        total = sum(start)
        for _ in range(PHASES - 1):
            total = (CHUNKS * total + CHUNKS * (CHUNKS + 1) // 2) & MASK
        assert self.values[-1].tolist() == [(total + i + 1) & MASK for i in range(CHUNKS)], f"step {self.steps}"

    def check_runs(self) -> None:
        """Every chunk of every phase ran once in each step."""
        assert (self.runs == self.steps).all()


def link(kernels: Path) -> Linked:
    """The walking of a program, and the two kernels."""
    isa = isas.choose()
    objects = KernelStore(isa, kernels).load(["run-step", "run-work"])
    return Linked({**objects, "mix": ("mix", kernel("mix", _mix)), "who": ("who", kernel("who", _who))}, isa)


@pytest.fixture(scope="module")
def linked(shared_home: Path) -> Linked:
    return link(shared_home / "kernels")


@pytest.fixture
def start(linked: Linked) -> Iterator[Callable[[int], Machine]]:
    machines = []

    def make(threads: int) -> Machine:
        machines.append(Machine(linked, threads))
        return machines[-1]

    yield make
    for machine in machines:
        machine.pool.close()


@contextlib.contextmanager
def thieves(count: int) -> Iterator[None]:
    """Processes that want every core for at most two seconds."""
    code = "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass"
    processes = [subprocess.Popen([sys.executable, "-S", "-c", code]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for a condition, which a slow machine may delay."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "never"
        time.sleep(0.001)


@pytest.mark.parametrize("chunks", [1, 2, 7, 8])
@pytest.mark.parametrize("threads", [1, 2, 3, 16])
def test_threads_that_take_turns_get_chunks_that_lie_together(threads: int, chunks: int) -> None:
    turn = numba.njit(lambda n: run.turn(n, chunks, threads))
    claimed = [turn(n) for n in range(chunks)]
    assert sorted(claimed) == list(range(chunks))
    assert all(after == before + 1 for before, after in zip(claimed, claimed[threads:], strict=False))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_thousands_of_tiny_steps(start: Callable[[int], Machine], threads: int) -> None:
    machine = start(threads)
    for _ in range({1: 3000, 2: 3000, 3: 300}[threads]):
        machine.step()
    machine.check_runs()


@pytest.mark.parametrize("threads", [2, 4])
def test_stolen_cores_change_nothing(start: Callable[[int], Machine], threads: int) -> None:
    machine, end = start(threads), time.monotonic() + 0.7
    with thieves(3):
        while time.monotonic() < end:
            machine.step()
    machine.check_runs()


def test_python_threads_that_want_the_interpreter_change_nothing(start: Callable[[int], Machine]) -> None:
    stop = threading.Event()

    def burn() -> None:
        while not stop.is_set():
            sum(range(100))

    burners = [threading.Thread(target=burn) for _ in range(2)]
    for burner in burners:
        burner.start()
    try:
        machine, end = start(3), time.monotonic() + 0.5
        while time.monotonic() < end:
            machine.step()
    finally:
        stop.set()
        for burner in burners:
            burner.join()
    machine.check_runs()


def test_counts_may_differ_from_step_to_step(start: Callable[[int], Machine]) -> None:
    """Chunk counts stand twice, by parity: those of the step to come are written while a late worker may read the other."""
    machine = start(3)
    for step in range(200):
        parity = (machine.pool.epoch + 1) & 1
        count = step % CHUNKS
        machine.table[:, 2 + parity] = count
        machine.runs[:] = 0
        machine.pool.step()
        assert (machine.runs == (np.arange(CHUNKS) < count)).all(), step


def test_a_late_worker_cannot_touch_a_later_step(start: Callable[[int], Machine], linked: Linked) -> None:
    """What a worker does that read the bell before it lost its core: it walks the old epoch while the counters say the new one."""
    machine, work = start(1), linked.function("run-work", 3)
    for _ in range(4):
        machine.step()
    pool = machine.pool
    machine.table[:, 2:] = 1000   # whatever it reads here may be of any later step
    counters, values = pool._counters.copy(), machine.values.copy()
    for late in range(pool.epoch):
        pool._control[BELL] = late
        assert work(pool._address, -5, 10) == late
        np.testing.assert_array_equal(pool._counters, counters)
        np.testing.assert_array_equal(machine.values, values)
    machine.check_runs()


def test_a_worker_in_the_middle_of_an_old_step_leaves_it(start: Callable[[int], Machine], linked: Linked) -> None:
    """It has done the first phases and finds the counters of the others in the next epoch already."""
    machine, work = start(1), linked.function("run-work", 3)
    machine.step()
    pool = machine.pool
    claims = (int(pool._control[CLAIMS]) - pool._counters.ctypes.data) // 64
    dones = (int(pool._control[DONES]) - pool._counters.ctypes.data) // 64
    pool._counters[[claims + PHASES // 2, dones + PHASES // 2], 0] = 2 << 32
    assert work(pool._address, 0, 10) == 1
    assert pool._counters[claims + PHASES // 2, 0] == 2 << 32
    machine.check_runs()


def test_sleeping_workers_wake_and_take_their_part(linked: Linked) -> None:
    out = np.zeros(24, np.uint64)
    block = np.array([out.ctypes.data])
    table = np.array([[linked.addresses["who"], block.ctypes.data, len(out), len(out)]])
    pool = Pool(table, linked, 3)
    try:
        for _ in range(3):
            eventually(lambda: pool._asleep == 2)
            eventually(lambda: pool.step() or len(set(out.tolist())) == 3)   # type: ignore[func-returns-value]
    finally:
        pool.close()


def test_a_step_interrupted_before_its_bell_leaves_no_worker_spinning(start: Callable[[int], Machine]) -> None:
    machine = start(3)
    machine.step()
    eventually(lambda: machine.pool._asleep == 2)
    machine.pool.epoch += 1   # Ctrl-C came here
    with machine.pool._wake:
        machine.pool._wake.notify_all()
    time.sleep(0.01)
    eventually(lambda: machine.pool._asleep == 2)
    spent = time.process_time()
    time.sleep(0.1)
    assert time.process_time() - spent < 0.05
    for _ in range(50):
        machine.step()
    machine.check_runs()


def test_epochs_begin_again(start: Callable[[int], Machine]) -> None:
    """After two thousand million steps, about a month of small ones."""
    machine = start(3)
    machine.pool.epoch = pools.LAST_EPOCH - 25
    for _ in range(50):
        machine.step()
    assert machine.pool.epoch == 24
    machine.check_runs()


@pytest.mark.parametrize("rest", [0.0, 0.05], ids=["polling", "asleep"])
def test_closing_ends_the_workers_and_twice_is_harmless(linked: Linked, rest: float) -> None:
    before = set(threading.enumerate())
    machine = Machine(linked, 3)
    machine.step()
    assert len(set(threading.enumerate()) - before) == 2
    time.sleep(rest)
    machine.pool.close()
    machine.pool.close()
    assert set(threading.enumerate()) <= before


def test_a_process_may_end_without_closing(linked: Linked, shared_home: Path) -> None:
    """Daemon threads poll memory and machine code while the interpreter goes away."""
    code = "import pathlib, sys, test_pool\nmachine = test_pool.Machine(test_pool.link(pathlib.Path(sys.argv[1])), 4)\nfor _ in range(20): machine.step()"
    for _ in range(3):
        subprocess.run([sys.executable, "-c", code, shared_home / "kernels"], check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, timeout=60)
