"""Random numbers by position: Philox4x32-10, a counter in, four random words out. No state, so nothing depends on order.

J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011); checked against the authors' known answers.
"""

from __future__ import annotations

_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85
_WORD = 0xFFFFFFFF


def philox(counter: tuple[int, int, int, int], key: tuple[int, int], rounds: int = 10) -> tuple[int, int, int, int]:
    """Four random 32-bit words for a counter of four words and a key of two."""
    a, b, c, d = counter
    left, right = key
    for _ in range(rounds):
        first, second = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (second >> 32) ^ b ^ left, second & _WORD, (first >> 32) ^ d ^ right, first & _WORD
        left, right = (left + _WEYL[0]) & _WORD, (right + _WEYL[1]) & _WORD
    return a, b, c, d


def uniform(seed: int, position: int, stream: int = 0) -> float:
    """A number in [0, 1) with 53 random bits, for a seed below 2**64, a position below 2**64 and a stream below 2**32."""
    high, low, _, _ = philox((position & _WORD, position >> 32, stream, 0), (seed & _WORD, seed >> 32))
    return ((high << 21) ^ (low >> 11)) * 2.0**-53
