"""Walking a program: one native call per step, phases that end when their chunks are done. Knows no op.

A phase is (kernel, argument block, chunks). Every thread walks the same phases; a chunk is claimed by compare-and-swap on a
counter tagged with the step number (the epoch), so a thread that lost its core for a while and comes back late holds
nobody up and cannot touch a later step: its tag is old. A phase is over when its chunks are done, not when all threads have
come. Chunk counts stand twice, by parity of the epoch, for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.atomic import acquire, increment, publish, swap
from edgerun.backends.cpu.kernels.control import BELL, CLAIMS, COUNT, DONES, PHASE, PHASES, THREADS, YIELD
from edgerun.backends.cpu.kernels.simd import i64, op

_I64 = ir.IntType(64)


@op(types.void)
def pause(b: Any) -> None:
    """Tell the core that this is a waiting loop. ARM's own hint, `yield`, does nothing on most cores; a barrier takes some time."""
    if b.module.triple.startswith("x86_64"):
        S.invoke(b, "llvm.x86.sse2.pause", ir.VoidType())
    elif b.module.triple.startswith(("aarch64", "arm64")):
        S.invoke(b, "llvm.aarch64.isb", ir.VoidType(), ir.IntType(32)(15))


@op(types.void, i64, i64, i64)
def call(b: Any, kernel: Any, args: Any, chunk: Any) -> None:
    """Call a compiled kernel: int32 f(result *, error **, args, chunk)."""
    byte_pointer = ir.IntType(8).as_pointer()
    takes = [byte_pointer.as_pointer(), byte_pointer.as_pointer(), _I64, _I64]
    with b.goto_entry_block():
        result, error = b.alloca(byte_pointer), b.alloca(byte_pointer)
    b.call(b.inttoptr(kernel, ir.FunctionType(ir.IntType(32), takes).as_pointer()), [result, error, args, chunk])


@op(types.void, i64)
def yield_core(b: Any, sched_yield: Any) -> None:
    """Let another thread have this core."""
    b.call(b.inttoptr(sched_yield, ir.FunctionType(ir.IntType(32), []).as_pointer()), [])


@S.inner
def turn(n: int, chunks: int, threads: int) -> int:
    """Which chunk is claimed as the n-th: threads that take turns go on where their last chunk ended, and asked for weights."""
    at = S.quotient(n, threads)
    lane = n - at * threads
    each = S.quotient(chunks, threads)
    return lane * each + min(lane, chunks - each * threads) + at


@S.inner
def walk(control: int, epoch: int) -> None:
    """Do chunks of each phase in turn until none is left, then wait until all are done."""
    phases, claims, dones = S.word(control, PHASES), S.word(control, CLAIMS), S.word(control, DONES)
    tag, parity, threads = epoch << 32, 16 + 8 * (epoch & 1), S.word(control, THREADS)
    for i in range(S.word(control, COUNT)):
        phase, claim, done = phases + PHASE * i, claims + 64 * i, dones + 64 * i
        kernel, args, chunks = S.peek(phase), S.peek(phase + 8), S.peek(phase + parity)
        while True:
            v = acquire(claim)
            if v >> 32 != epoch:
                return   # a later step is under way: this thread slept through this one
            if v - tag >= chunks:
                break
            if swap(claim, v, v + 1):
                call(kernel, args, turn(v - tag, chunks, threads))
                increment(done)
        spins = 0
        while True:
            v = acquire(done)
            if v >> 32 != epoch:
                return
            if v - tag >= chunks:
                break
            pause()
            spins += 1
            if spins == 1000:
                yield_core(S.word(control, YIELD))
                spins = 0


def step(control: int, epoch: int) -> None:
    """The caller's part: reset the counters for this epoch, ring the bell, walk."""
    claims, dones = S.word(control, CLAIMS), S.word(control, DONES)
    for i in range(S.word(control, COUNT)):
        publish(dones + 64 * i, epoch << 32)
        publish(claims + 64 * i, epoch << 32)
    publish(control + 8 * BELL, epoch)
    walk(control, epoch)


def work(control: int, last: int, patience: int) -> int:
    """A worker's part: walk every step that is rung. Returns the last epoch seen after `patience` idle polls (then it
    sleeps in Python), or -1 when the bell says stop."""
    idle = 0
    while idle < patience:
        epoch = acquire(control + 8 * BELL)
        if epoch < 0:
            return epoch
        if epoch != last:
            walk(control, epoch)
            last, idle = epoch, 0
        else:
            pause()
            idle += 1
            if idle & 511 == 0:
                yield_core(S.word(control, YIELD))
    return last


def chain(args: int, chunk: int) -> None:
    """Row ops one after another, on the rows of a chunk. args: rows *, rows per chunk, count, (kernel, arguments) each."""
    rows, per, count = S.peek(S.word(args, 0)), S.word(args, 1), S.word(args, 2)
    for row in range(chunk * per, min(chunk * per + per, rows)):
        for i in range(count):
            call(S.word(args, 3 + 2 * i), S.word(args, 4 + 2 * i), row)


def fan(args: int, chunk: int) -> None:
    """Several matrices in one phase. args: count, chunks of a turn, (first chunk of a turn, its chunks, kernel, arguments) each, by first
    chunk. In turn n, a kernel with k chunks to a turn is given chunks n * k and after.
    """
    turn = S.quotient(chunk, S.word(args, 1))
    own, i = chunk - turn * S.word(args, 1), S.word(args, 0) - 1
    while S.word(args, 2 + 4 * i) > own:
        i -= 1
    call(S.word(args, 4 + 4 * i), S.word(args, 5 + 4 * i), turn * S.word(args, 3 + 4 * i) + own - S.word(args, 2 + 4 * i))


_ALL: dict[str, Callable] = {"step": step, "work": work, "chain": chain, "fan": fan}


def build(name: str) -> Callable:
    """One of step, work, chain, fan."""
    return _ALL[name]
