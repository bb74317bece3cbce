"""Moving fields of bits between words, many words at once. Knows no format; words are little-endian, as GGUF files are."""

from __future__ import annotations

import numpy as np

U64 = np.dtype("<u8")
U32 = np.dtype("<u4")
U16 = np.dtype("<u2")
F16 = np.dtype("<f2")
QUAD = np.dtype(np.complex128)   # 16 bytes that move as one; no arithmetic is done on it


def exchange(a: np.ndarray, b: np.ndarray, shift: int, mask: int) -> None:
    """Swap, in place, the bits of `a` under `mask << shift` with the bits of `b` under `mask`."""
    t = a >> shift
    t ^= b
    t &= mask
    b ^= t
    t <<= shift
    a ^= t


def transpose_fields(words: np.ndarray, bits: int) -> None:
    """Swap, in place, field f of word i with field i of word f, in every byte.

    words: unsigned and contiguous, [8 / bits, ...], the first axis being i; a field is `bits` bits of each byte.
    """
    count = 8 // bits
    ones = (1 << 8 * words.itemsize) // 255
    step = count // 2
    while step:
        pairs = words.reshape(count // (2 * step), 2, step, -1)
        shift = step * bits
        exchange(pairs[:, 0], pairs[:, 1], shift, 255 // ((1 << shift) + 1) * ones)
        step //= 2


def swap_index_bits(words: np.ndarray, high: int, low: int) -> None:
    """Move, in place, bit i of every 32-bit word to position j: the number i with its binary digits `high` and `low` swapped."""
    shift = (1 << high) - (1 << low)
    mask = sum(1 << i for i in range(32) if i >> low & 1 and not i >> high & 1)
    t = words >> shift
    t ^= words
    t &= mask
    words ^= t
    t <<= shift
    words ^= t
