"""What the kernels of ops with a recurrent state share: their chunks are blocks of 16 columns, each of which goes through all
rows in order, so that neither chunks nor other sequences change a bit.

An argument block begins with these words; what follows is drawn in each kernel's own file. STATE is that of slot 0, SLOT the
bytes to the next; OWN is the first word that is not common.
"""

from __future__ import annotations

from typing import Any

from edgerun.backends.cpu.kernels import frame as F
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels.row import load_some, store_some

FRAME, STATE, SLOT, BLOCKS, PER, OWN = range(6)


@S.inner
def rows(args: int) -> int:
    """Rows of the batch."""
    return S.word(S.word(args, FRAME), F.ROWS)


@S.inner
def state(args: int, row: int, offset: int, vectors: int, stride: int) -> int:
    """Address of the state of a row's sequence plus offset; its `vectors`, `stride` bytes apart, are zero at position 0."""
    frame = S.word(args, FRAME)
    at = S.word(args, STATE) + S.peek_i32(S.word(frame, F.STATES) + 4 * row) * S.word(args, SLOT) + offset
    if S.peek_i32(S.word(frame, F.POSITIONS) + 4 * row) == 0:
        for i in range(vectors):
            S.store_f32(at + stride * i, S.zero())
    return at


@S.inner
def load(p: int, n: int, room: int) -> Any:
    """The first n floats of 16, and zeros."""
    return S.load_f32(p) if n == 16 else load_some(p, n, room)


@S.inner
def store(p: int, n: int, v: Any, room: int) -> None:
    """Write the first n lanes."""
    if n == 16:
        S.store_f32(p, v)
    else:
        store_some(p, n, v, room)
