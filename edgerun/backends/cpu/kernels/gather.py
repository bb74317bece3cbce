"""The inputs of experts in the order of `grouping.py`: quantized, or as floats. Each expert's rows lie as if they were a batch.

The argument block, in 8-byte words: x, stride, bytes from slot to slot of a row (0 where all share it), width, slots of a row,
sorted slots, table, address of the number of rows, q (or the floats), d, sums of 16, sums of 32, starts.
"""

from __future__ import annotations

from collections.abc import Callable

from edgerun.backends.cpu.kernels import activations as A
from edgerun.backends.cpu.kernels import simd as S
from edgerun.backends.cpu.kernels import superblock as B
from edgerun.backends.cpu.kernels.control import ENTRY, GATHERED
from edgerun.backends.cpu.kernels.quantizer import quantizer


def build(kind: str) -> Callable[[int, int], None]:
    """The kernel for `codes`, `broad` ones, `superblocks` or `floats`; a chunk does GATHERED slots."""
    place, CODES, BYTES = quantizer("codes" if kind == "floats" else kind), kind != "floats", A.ROW
    SCALED, SUMMED = (B.SCALED, 32) if kind == "superblocks" else (16, 16)   # columns of a scale, and of a word of the sums of 16

    @S.inner
    def copy(x: int, n: int, out: int) -> None:
        for i in range(0, n - n % 16, 16):
            S.store_f32(out + 4 * i, S.load_f32(x + 4 * i))
        for i in range(n - n % 16, n):
            S.poke_f32(out + 4 * i, S.peek_f32(x + 4 * i))

    def gather(args: int, chunk: int) -> None:
        n, pairs, table = S.word(args, 3), S.word(args, 5), S.word(args, 6)
        q, d, sums16, sums32, starts = S.word(args, 8), S.word(args, 9), S.word(args, 10), S.word(args, 11), S.word(args, 12)
        count = S.peek(S.word(args, 7)) * S.word(args, 4)
        for number in range(chunk * GATHERED, min(chunk * GATHERED + GATHERED, count)):
            pair = pairs + ENTRY * number
            x = S.word(args, 0) + S.peek_i32(pair) * S.word(args, 1) + S.peek_i32(pair + 4) * S.word(args, 2)
            if CODES:
                entry = table + ENTRY * (1 + S.peek_i32(pair + 8))
                first, rows = S.peek_i32(entry + 4), S.peek_i32(entry + 8)
                steps, sums, pairs_at = 4 * first * (n // SCALED), 4 * first * (n // SUMMED), 4 * first * (n // (2 * SUMMED))
                place(x, n, q + first * n * BYTES, d + steps, sums16 + sums, sums32 + pairs_at, starts + steps, number - first, rows)
            else:
                copy(x, n, q + 4 * n * number)

    return gather
