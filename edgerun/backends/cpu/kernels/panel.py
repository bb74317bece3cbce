"""Row blocks of a matrix that lies as in the file, repacked when they are wanted, in a room that stays in the core's own cache.

A matrix has a record, and all matrices share rooms, one for each thread; `backends/cpu/raw.py` makes them:

    record   READY: not 0 once its packed rows are where they belong, and the record is of no more use
             SOURCE, STRIDE: its first row, bytes from row to row; BLOCKS: packed blocks of a row; TABLE: its moves (`repack.py`)
             WHOLE: row blocks that have 16 rows; EDGE: the last one, filled up with zeros; ROOMS
    rooms    COUNT | BYTES from room to room | REPACK: address of the kernel | (the rest of a line)
    room     taken or not | argument block of `repack` | (the rest of a line) | a row block
"""

from __future__ import annotations

from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.control import BLOCKS, EDGE, READY, REPACK, ROOM_BYTES, ROOM_COUNT, ROOMS, SOURCE, STRIDE, TABLE, WHOLE
from edgerun.backends.cpu.kernels.run import acquire, call, publish, swap

LINE, ARGS = 64, 8   # where the row block begins in a room, and where the argument block


@S.inner
def enter(record: int) -> int:
    """A room for a thread that is to work with a matrix; 0 where its packed rows are in place. record: 0 where there is none."""
    if record == 0 or acquire(record + 8 * READY) != 0:
        return 0
    rooms = S.word(record, ROOMS)
    first, nbytes = rooms + LINE, S.word(rooms, ROOM_BYTES)
    last = first + (S.word(rooms, ROOM_COUNT) - 1) * nbytes
    room = first
    while swap(room, 0, 1) == 0:   # there are as many as threads, so one is free
        room = room + nbytes if room < last else first
    S.poke(room + ARGS + 8, S.word(record, STRIDE))
    S.poke(room + ARGS + 16, S.word(record, BLOCKS))
    S.poke(room + ARGS + 24, room + LINE)
    S.poke(room + ARGS + 32, S.word(record, TABLE))
    return room


@S.inner
def repacked(record: int, room: int, block: int) -> int:
    """The address of a row block, which is repacked into the room."""
    source = S.word(record, EDGE)
    if block < S.word(record, WHOLE):
        source = S.word(record, SOURCE) + 16 * block * S.word(record, STRIDE)
    S.poke(room + ARGS, source)
    call(S.word(S.word(record, ROOMS), REPACK), room + ARGS, 1)
    return room + LINE


@S.inner
def leave(room: int) -> None:
    """Give a room back."""
    if room != 0:
        publish(room, 0)
