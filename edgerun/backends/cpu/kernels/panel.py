"""Row blocks of a matrix that lies as in the file, repacked when they are wanted: in a room that stays in the core's own cache, or
for good where they belong.

A matrix has a record, and all matrices share rooms, one for each thread; `backends/cpu/raw.py` makes them:

    record   READY: not 0 once all packed rows are in place | STRIDE: bytes of a row | BLOCKS: packed blocks of a row
             ROWS | SIZE: bytes of a packed row block | TABLE: its moves (`repack.py`) | ROOMS
             SOURCE: the first row, in memory, and EDGE: the last row block filled up with zeros, where rows are missing to one; or
             FD, OFFSET: file and place of the first row (FD is -1 for rows in memory), then also
             TARGET: where packed rows belong | DONE: a byte for each row block, 1 once it is there
    rooms    COUNT | BYTES from room to room | PANEL: bytes of the largest packed row block | REPACK, PREAD: addresses of functions
             WRITING: whether row blocks go where they belong | FAILED: not 0 once rows could not be read | (the rest of a line)
    room     taken or not | argument block of `repack` | (the rest of a line) | a packed row block | its rows as they were read
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from edgerun.backends.cpu.kernels import control as C
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.atomic import acquire, publish, swap
from edgerun.backends.cpu.kernels.run import call
from edgerun.backends.cpu.kernels.simd import i64, op

LINE, ARGS = 64, 8   # where the row block begins in a room, and where the argument block
TRIES = 100          # of a read that fails, as one that was interrupted does
_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)


@op(i64, i64, i64, i64, i64, i64)
def pread(b: Any, function: Any, fd: Any, at: Any, count: Any, offset: Any) -> Any:
    """Call POSIX's pread at an address."""
    kind = ir.FunctionType(_I64, [_I32, _I8.as_pointer(), _I64, _I64])
    return b.call(b.inttoptr(function, kind.as_pointer()), [b.trunc(fd, _I32), b.inttoptr(at, _I8.as_pointer()), count, offset])


@op(i64, i64)
def another(b: Any, x: Any) -> Any:
    """x, of which LLVM may not know that it is the same in the next turn of a loop: it would double the loop, one for each case."""
    return b.asm(ir.FunctionType(_I64, [_I64]), "", "=r,0", [x], side_effect=True)


@op(i64, i64)
def flag(b: Any, address: Any) -> Any:
    """A byte that another thread may set, and what it wrote before."""
    return b.zext(b.load_atomic(b.inttoptr(address, _I8.as_pointer()), "acquire", 1), _I64)


@op(i64, i64)
def raise_flag(b: Any, address: Any) -> Any:
    """Set it, after all that was written before."""
    b.store_atomic(_I8(1), b.inttoptr(address, _I8.as_pointer()), "release", 1)
    return address


@op(types.void, i64)
def clear(b: Any, address: Any) -> None:
    """Make a byte zero."""
    S.store_at(b, address, _I8(0))


@S.inner
def enter(record: int) -> int:
    """A room for a thread that is to work with a matrix; 0 where its packed rows are in place. record: 0 where there is none."""
    if record == 0 or acquire(record + 8 * C.READY) != 0:
        return 0
    rooms = S.word(record, C.ROOMS)
    first, nbytes = rooms + LINE, S.word(rooms, C.ROOM_BYTES)
    last = first + (S.word(rooms, C.ROOM_COUNT) - 1) * nbytes
    room = first
    while swap(room, 0, 1) == 0:   # there are as many as threads, so one is free
        room = room + nbytes if room < last else first
    S.poke(room + ARGS + 8, S.word(record, C.STRIDE))
    S.poke(room + ARGS + 16, S.word(record, C.BLOCKS))
    S.poke(room + ARGS + 32, S.word(record, C.TABLE))
    return room


@S.inner
def read(record: int, at: int, block: int) -> None:
    """The rows of a row block from the file, and zeros for those that are missing to 16."""
    rooms, stride = S.word(record, C.ROOMS), S.word(record, C.STRIDE)
    count, offset = min(16, S.word(record, C.ROWS) - 16 * block) * stride, S.word(record, C.OFFSET) + 16 * block * stride
    done = tries = 0
    while done < count and tries < TRIES:
        got = pread(S.word(rooms, C.PREAD), S.word(record, C.FD), at + done, count - done, offset + done)
        if got > 0:
            done += got
        else:
            tries += 1
    if done < count:
        publish(rooms + 8 * C.FAILED, 1)
    for i in range(done, 16 * stride):
        clear(at + i)


@S.inner
def repacked(record: int, room: int, block: int) -> int:
    """The address of a row block, repacked into the room or where it belongs."""
    rooms, target, done = S.word(record, C.ROOMS), room + LINE, S.word(record, C.DONE) + block
    if S.word(record, C.FD) >= 0:
        own = S.word(record, C.TARGET) + block * S.word(record, C.SIZE)
        if flag(done):
            return own
        source = room + LINE + S.word(rooms, C.PANEL)
        read(record, source, block)
        if S.word(rooms, C.WRITING):
            target = own
    else:
        source = S.word(record, C.SOURCE) + 16 * block * S.word(record, C.STRIDE)
        if 16 * block + 16 > S.word(record, C.ROWS):
            source = S.word(record, C.EDGE)
    S.poke(room + ARGS, source)
    S.poke(room + ARGS + 24, target)
    call(S.word(rooms, C.REPACK), room + ARGS, 1)
    if target != room + LINE:
        raise_flag(done)
    return target


@S.inner
def at(record: int, room: int, block: int, packed: int) -> int:
    """The address of a row block: `packed` without a room."""
    return repacked(record, room, block) if another(room) else packed


@S.inner
def leave(room: int) -> None:
    """Give a room back."""
    if room != 0:
        publish(room, 0)
