"""What a codebook is: which vectors of 4 or 8 values an index stands for, and how they become codes. Knows no block, no scale.

Each vector of a codebook is a row of digits, which number the `values` a weight may take. Read as numbers in base len(values),
the first digit lowest, the vectors ascend. So a codebook is a set of numbers, and is written as one: a bitmap in which bit i
(of byte i / 8 the bit i % 8) says that the vector with the number i is there, compressed by zlib and written in base 85. It
is decoded when it is first used, and only once.

A code is a digit with a sign above it: the digits have 2 or 3 bits, the codes 3 or 4, and a table gives the weight. All
lookups give words in which several codes stand where the packing wants them.
"""

from __future__ import annotations

import base64
import functools
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

from edgerun.dataclass import dataclass
from edgerun.formats.bits import QUAD, U16, U32, U64

_STEP = 1 << 11   # runs looked up at a time: indices become words of 8 bytes on the way


@dataclass(frozen=True)
class Vectors:
    """What blocks say of their weights, for each run of 32 weights; there are n runs, and any strides.

    index: unsigned [32 / width, n], the indices of vectors. signs: uint16 [2, n], a bit for each of 16 weights.
    """

    index: np.ndarray
    signs: np.ndarray


class Codebook:
    """Vectors of `width` weights out of `values`; width 8 goes with 2 bits, 4 with 3 bits."""

    def __init__(self, values: Sequence[int], width: int, text: str) -> None:
        self.values, self.width, self._text = tuple(values), width, text
        self._bits = (len(self.values) - 1).bit_length()

    @functools.cached_property
    def digits(self) -> np.ndarray:
        """The vectors in the order of their indices, as places in `values`: uint8 [vectors, width]."""
        bitmap = np.frombuffer(zlib.decompress(base64.b85decode(self._text)), np.uint8)
        numbers = np.flatnonzero(np.unpackbits(bitmap, bitorder="little"))
        base = len(self.values)
        return (numbers[:, None] // base ** np.arange(self.width) % base).astype(np.uint8)

    def table(self, plus: Sequence[int], minus: Sequence[int]) -> tuple[int, ...]:
        """The weight of each code, for a Packing, from those of the digits without and with the sign."""
        unused = [0] * ((1 << self._bits) - len(self.values))
        return (*plus, *unused, *minus, *unused)

    @property
    def signed(self) -> tuple[int, ...]:
        """The table where values are magnitudes."""
        return self.table(self.values, [-v for v in self.values])

    def codes(self, rows: int, vectors: Vectors) -> np.ndarray:
        """The codes of `rows` rows, uint8 [rows, cols]."""
        return self._codes(vectors).view(np.uint8).reshape(rows, -1)

    def merged(self, rows: int, vectors: Vectors) -> np.ndarray:
        """What `packing.merge` makes of the codes: uint32 [rows, blocks of 256, words]."""
        words = self._nibbles(vectors) if self.width == 4 else self._triples(vectors)
        return words.reshape(rows, -1, 8 * words.shape[1])

    def _codes(self, vectors: Vectors) -> np.ndarray:
        """Codes as bytes: uint64 [n, 4]."""
        words = self._words.take(np.ascontiguousarray(vectors.index.T)).view(U64)
        words |= self._signs.take(np.ascontiguousarray(vectors.signs.T).view(np.uint8))
        return words

    def _nibbles(self, vectors: Vectors) -> np.ndarray:
        """The codes, uint32 [n, 4]: byte j of word v has column 4 * v + j and, in its high nibble, the one 16 further."""
        result = np.empty((vectors.signs.shape[1], 2), U64)
        for at in range(0, len(result), _STEP):
            some = slice(at, at + _STEP)
            halves = self._codes(Vectors(vectors.index[:, some], vectors.signs[:, some])).view(QUAD)   # 16 bytes move as one
            result[some] = _over_each_other((half.copy().view(U64) for half in halves.T), 4).reshape(-1, 2)
        return result.view(U32)

    def _triples(self, vectors: Vectors) -> np.ndarray:
        """The codes, uint32 [n, 3]: of byte j of word v, nibble s has column 16 * s + 4 * v + j and, lowest, bit v of column 16 * s + 12 + j."""
        first, rests, third = self._thirds
        first_signs, third_signs = _sign_thirds()
        halves = [(*vectors.index[2 * s : 2 * s + 2], signs & 255, signs >> 8) for s, signs in enumerate(vectors.signs)]
        two = _over_each_other((first.take(a) | rests.take(b) | first_signs.take(low) for a, b, low, _ in halves), 4)
        last = _over_each_other((third.take(b) | third_signs.take(high) for _, b, _, high in halves), 4)
        return np.concatenate([two.view(U32).reshape(-1, 2), last[:, None]], 1)

    @functools.cached_property
    def _words(self) -> np.ndarray:
        """Each vector's digits as the bytes of a word: uint32 or uint64 [vectors]."""
        return self.digits.view(U32 if self.width == 4 else U64)[:, 0]

    @functools.cached_property
    def _thirds(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of `_triples`: words 0 and 1 of a vector's digits, those of the bits of its last four digits, uint64, and word 2 of its first four, uint32."""
        low, high = self.digits[:, :4], self.digits[:, 4:]
        return _joined(low << 1, high << 1), _joined(high & 1, high >> 1), np.ascontiguousarray(low << 1).view(U32)[:, 0]

    @functools.cached_property
    def _signs(self) -> np.ndarray:
        """8 signs as the highest bits of 8 codes, each in a byte of its own: uint64 [256]."""
        return (_bits_of_bytes() << self._bits).view(U64)[:, 0]


def even_signs(*sevens: np.ndarray) -> np.ndarray:
    """Signs of which the file leaves out each eighth, which makes their number even: lower 14 bits [n] -> uint16 [arguments, n]."""
    return np.stack([_even().take(bits & 0x3FFF) for bits in sevens])


def sign_words(signs: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Words of 4 times 7 signs and a scale of 4 bits: signs uint8 [n, 4 * words], scales uint8 [n, words] -> uint8 [n, 4 * words]."""
    sevens = (signs & 127).astype(U32).reshape(len(signs), -1, 4) << np.arange(0, 28, 7, dtype=U32)
    return (sevens.sum(-1, dtype=U32) | scales.astype(U32) << 28).view(np.uint8)


def scale_nibbles(scales: np.ndarray) -> np.ndarray:
    """Scales of 4 bits, uint8 [n, subs] -> two in a byte, uint8 [n, subs / 2]."""
    return scales[:, ::2] | scales[:, 1::2] << 4


def odd_scales(nibbles: np.ndarray) -> np.ndarray:
    """Bytes of two scales each, uint8 [rows, blocks, n] -> 2 * scale + 1, uint8 [rows, blocks, 2n]."""
    scales = np.empty((*nibbles.shape, 2), np.uint8)
    scales[..., 0] = nibbles << 1 & 30
    scales[..., 1] = nibbles >> 3 & 30
    scales |= 1
    return scales.reshape(*nibbles.shape[:2], -1)


def _over_each_other(words: Iterable[np.ndarray], step: int) -> np.ndarray:
    """The words joined, each `step` bits higher than the one before; they are used up."""
    rest = iter(words)
    result = next(rest)
    for i, word in enumerate(rest, 1):
        word <<= step * i
        result |= word
    return result


@functools.cache
def _bits_of_bytes() -> np.ndarray:
    """The bits of every byte: uint8 [256, 8]."""
    return np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")


@functools.cache
def _even() -> np.ndarray:
    """Two sets of 7 bits -> two bytes of 8 bits of which an even number is set: uint16 [2^14]."""
    seven = np.arange(128, dtype=U16)
    eight = seven | (_bits_of_bytes()[:128].sum(-1, dtype=U16) & 1) << 7
    return (eight | eight[:, None] << 8).reshape(-1)


@functools.cache
def _sign_thirds() -> tuple[np.ndarray, np.ndarray]:
    """Of `Codebook._triples`: words 0 and 1 of signs 0 to 7, uint64 [256], and word 2 of signs 8 to 15, uint32 [256]."""
    bits = _bits_of_bytes()
    low, high = bits[:, :4], bits[:, 4:]
    return _joined(low << 3, high << 3), np.ascontiguousarray(low << 3 | high).view(U32)[:, 0]


def _joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Four bytes and four more, uint8 [n, 4] each -> uint64 [n]."""
    return np.concatenate([first, second], 1).view(U64)[:, 0]
